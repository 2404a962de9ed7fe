/*
 * table.c
 *	  What is found out about a table by all who read and write its rows without SQL.
 */
#include "postgres.h"

#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "nodes/primnodes.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "omnichannel.h"
#include "core/table.h"

/* Returns whether the table asks for nothing that only SQL does, but for triggers of this extension. */
bool
relation_is_plain(Relation relation)
{
	const TriggerDesc *triggers = relation->trigdesc;
	char kind = relation->rd_rel->relkind;

	if ((kind != RELKIND_RELATION || relation->rd_rel->relam != HEAP_TABLE_AM_OID) && kind != RELKIND_PARTITIONED_TABLE)
		return false;
	if (relation->rd_rel->relrowsecurity || relation->rd_rules != NULL)
		return false;
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (RI_FKey_trigger_type(triggers->triggers[i].tgfoid) == RI_TRIGGER_NONE &&
			get_func_namespace(triggers->triggers[i].tgfoid) != omni_schema())
			return false;
	return true;
}

/*
 * Returns the attribute of this name and type, or NULL. Looks at *next first, which is 0 to begin with: columns are
 * mostly named in the table's order.
 */
Form_pg_attribute
table_column_find(TupleDesc desc, const TableColumn *column, int *next)
{
	for (int tried = 0; tried < desc->natts; tried++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, (*next)++ % desc->natts);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), column->name) == 0)
			return !OidIsValid(column->type) || attribute->atttypid == column->type ? attribute : NULL;
	}
	return NULL;
}

/* Returns an attribute's default as the catalogue has it, or NULL. */
const char *
table_default(TupleDesc desc, AttrNumber attribute)
{
	for (int i = 0; desc->constr != NULL && i < desc->constr->num_defval; i++)
		if (desc->constr->defval[i].adnum == attribute)
			return desc->constr->defval[i].adbin;
	return NULL;
}

/* Says which rows an index holds, by the test of a column; returns false where it is another selection. */
bool
index_where(Relation index, IndexWhere *where, AttrNumber *tested)
{
	List *predicate = RelationGetIndexPredicate(index);
	const NullTest *test;

	*where = INDEX_ALL;
	*tested = InvalidAttrNumber;
	if (predicate == NIL)
		return true;
	test = linitial(predicate);
	if (list_length(predicate) != 1 || !IsA(test, NullTest) || test->argisrow || !IsA(test->arg, Var))
		return false;
	*where = test->nulltesttype == IS_NULL ? INDEX_NULL : INDEX_NOT_NULL;
	*tested = ((const Var *) test->arg)->varattno;
	return true;
}
