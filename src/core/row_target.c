/*
 * row_target.c
 *	  Finds out about a table that single rows are written to, and whether they may be; see row.c.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/relation.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "omnichannel.h"
#include "core/row_target.h"

/* Returns whether one of the columns that are changed is in this set. */
static bool
changes_any(const RowTarget *target, const RowTable *row, const Bitmapset *columns)
{
	for (int i = 0; i < row->ncolumns; i++)
		if (bms_is_member(target->attributes[i] - FirstLowInvalidHeapAttributeNumber, columns))
			return true;
	return false;
}

/* Returns whether a trigger would have to fire. */
static bool
fires_trigger(const RowTarget *target, const RowTable *row, Relation relation)
{
	const TriggerDesc *triggers = relation->trigdesc;
	ListCell *cell;

	if (triggers == NULL)
		return false;
	if (!row->change)
		return triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
			   triggers->trig_insert_before_statement || triggers->trig_insert_after_statement;
	if (triggers->trig_update_before_row || triggers->trig_update_before_statement ||
		triggers->trig_update_after_statement)
		return true;
	for (int i = 0; i < triggers->numtriggers; i++)
		if (TRIGGER_FOR_UPDATE(triggers->triggers[i].tgtype) &&
			RI_FKey_trigger_type(triggers->triggers[i].tgfoid) == RI_TRIGGER_NONE)
			return true;
	/* Those of foreign keys look at keys that stay. */
	if (changes_any(target, row, RelationGetIndexAttrBitmap(relation, INDEX_ATTR_BITMAP_KEY)))
		return true;
	foreach (cell, RelationGetFKeyList(relation))
	{
		const ForeignKeyCacheInfo *key = lfirst(cell);

		for (int i = 0; i < key->nkeys; i++)
			for (int j = 0; j < row->ncolumns; j++)
				if (key->conkey[i] == target->attributes[j])
					return true;
	}
	return false;
}

/* Returns whether a default is now(). */
static bool
is_now(const char *node)
{
	FuncExpr *call = node == NULL ? NULL : stringToNode(node);

	return call != NULL && IsA(call, FuncExpr) && call->funcid == F_NOW;
}

/* Compiles an expression or a list of conditions to be kept; returns NULL where it may not be. */
static ExprState *
compile(Node *expression)
{
	if (!expression_is_safe(expression))
		return NULL;
	return IsA(expression, List) ? ExecInitQual((List *) expression, NULL)
								 : ExecInitExpr(expression_planner((Expr *) expression), NULL);
}

/* Takes in a column that is generated; returns false where only SQL can. */
static bool
find_generated(RowTarget *target, TupleDesc desc, Form_pg_attribute attribute)
{
	const char *node = table_default(desc, attribute->attnum);
	int place = target->ngenerated;

	if (attribute->attgenerated != ATTRIBUTE_GENERATED_STORED || node == NULL || place == TABLE_COLUMNS)
		return false;
	target->generated_columns[place] = attribute->attnum;
	target->generated[place] = compile(stringToNode(node));
	target->ngenerated++;
	return target->generated[place] != NULL;
}

/* Finds the columns; returns false where the table is not what the caller takes it for. */
static bool
find_columns(RowTarget *target, const RowTable *row, TupleDesc desc)
{
	int found = 0;

	Assert(row->ncolumns <= TABLE_COLUMNS);
	target->now = InvalidAttrNumber;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		const char *node;
		int column;

		if (attribute->attisdropped)
			continue;
		if (attribute->attgenerated != '\0')
		{
			if (!find_generated(target, desc, attribute))
				return false;
			continue;
		}
		if (attribute->attidentity == ATTRIBUTE_IDENTITY_ALWAYS)
			return false;
		for (column = 0; column < row->ncolumns; column++)
			if (strcmp(NameStr(attribute->attname), row->columns[column].name) == 0)
				break;
		if (column < row->ncolumns)
		{
			if (attribute->atttypid != row->columns[column].type || attribute->atttypmod != -1)
				return false;
			target->attributes[column] = attribute->attnum;
			found++;
			continue;
		}
		if (row->change)
			continue;
		node = table_default(desc, attribute->attnum);
		if (row->now != NULL && strcmp(NameStr(attribute->attname), row->now) == 0)
		{
			if (attribute->atttypid != TIMESTAMPTZOID || attribute->atttypmod != -1 || !is_now(node))
				return false;
			target->now = attribute->attnum;
		}
		else if (node != NULL || attribute->attnotnull || attribute->attidentity != '\0' ||
				 (attribute->atttypid >= FirstNormalObjectId && get_typtype(attribute->atttypid) != TYPTYPE_ENUM))
			return false;
	}
	return found == row->ncolumns && (row->now == NULL || target->now != InvalidAttrNumber);
}

/* Finds out what an index holds; returns false where only SQL knows. */
static bool
find_index(RowIndex *found, Relation index)
{
	Form_pg_index form = index->rd_index;

	if (index->rd_rel->relkind != RELKIND_INDEX || index->rd_rel->relam != BTREE_AM_OID || !form->indisready ||
		!form->indimmediate || form->indisexclusion || RelationGetIndexExpressions(index) != NIL)
		return false;
	found->oid = RelationGetRelid(index);
	found->unique = form->indisunique;
	found->natts = form->indnatts;
	for (int i = 0; i < form->indnatts; i++)
	{
		/* Functions of others may ask for the pinned search_path. */
		if (i < form->indnkeyatts && index->rd_opfamily[i] >= FirstNormalObjectId)
			return false;
		found->attributes[i] = form->indkey.values[i];
	}
	if (index_where(index, &found->where, &found->tested))
		return true;
	found->selects = compile((Node *) RelationGetIndexPredicate(index));
	return found->selects != NULL;
}

/* Compiles the checks; returns false where one of them is not to be kept. */
static bool
compile_checks(RowTarget *target, TupleDesc desc)
{
	int count = desc->constr == NULL ? 0 : desc->constr->num_check;

	target->checks = palloc(sizeof(ExprState *) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (!check_is_enforced(&desc->constr->check[i]))
			continue;
		target->checks[target->nchecks] = compile(stringToNode(desc->constr->check[i].ccbin));
		if (target->checks[target->nchecks++] == NULL)
			return false;
	}
	return true;
}

/* row_target_make returns what it finds out about an open table, in its own memory, or NULL where only SQL knows. */
RowTarget *
row_target_make(const RowTable *row, Relation relation)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "omnichannel row", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	RowTarget *target = palloc0(sizeof(RowTarget));
	bool known = relation_is_plain(relation) && relation->rd_rel->relkind == RELKIND_RELATION &&
				 !relation->rd_rel->relhassubclass && find_columns(target, row, RelationGetDescr(relation)) &&
				 !fires_trigger(target, row, relation) && compile_checks(target, RelationGetDescr(relation));
	ListCell *cell;

	target->oid = RelationGetRelid(relation);
	target->context = context;
	if (known)
		foreach (cell, RelationGetIndexList(relation))
		{
			Relation index = try_relation_open(lfirst_oid(cell), AccessShareLock);

			known = known && index != NULL && target->nindexes < ROW_INDEXES &&
					find_index(&target->indexes[target->nindexes++], index);
			if (index != NULL)
				relation_close(index, AccessShareLock);
		}
	MemoryContextSwitchTo(old);
	if (known)
	{
		MemoryContextSetParent(context, CacheMemoryContext);
		return target;
	}
	MemoryContextDelete(context);
	return NULL;
}
