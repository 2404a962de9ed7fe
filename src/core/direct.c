/*
 * direct.c
 *	  Rows written without SQL, many at a time, where nothing asks for SQL.
 *
 * A statement of SQL costs many times what its row does: its plan is checked, its executor is built up and torn down,
 * its arrays are built, unpacked and copied; test/bench/copy.sh shows the gain. What SQL would do for a row is done
 * here by the executor's own functions. Wherever that would not be the same, direct_open() answers NULL, and the caller
 * runs the statement that it keeps:
 *
 * - the table, or the partition of a row (direct_add() says so then), is not an ordinary one in the server's heap, has
 *   rules, row security, or triggers other than those of its foreign keys and this extension's own for other events
 *   (Citus and TimescaleDB mark their tables by triggers too);
 * - for changes, other tables inherit from it; for keys, another unique index or an exclusion constraint stands beside
 *   the primary key, or that is of other columns or deferrable;
 * - the current role lacks a right on the table or on a column, so that the statement raises the error; extensions that
 *   look at rights (ExecutorCheckPerms_hook, as pgAudit does) are asked as always;
 * - rows are to be written and the transaction is read-only, the server is a standby, or a parallel query runs;
 * - a column that is given a value is not there, is of another type or length, or is always generated; another one is
 *   of a domain;
 * - rows are to be changed in SERIALIZABLE, where they must be read as queries read them.
 *
 * NOT NULL and CHECK constraints, defaults, identities, generated columns, partitions, unique and foreign keys, logical
 * decoding and statistics are honoured. Concurrent changes of a row are followed in READ COMMITTED; above it they raise
 * 40001. test/pgtap/direct_writes.sql has a test of each.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_relation.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "omnichannel.h"
#include "core/direct_write.h"

/* Returns whether the table as a whole may be written to for the purpose. */
static bool
is_suitable(const DirectTable *table, Relation relation)
{
	if (!direct_ordinary(relation, table->purpose) || relation->rd_rel->relispartition)
		return false;
	if (table->purpose != DIRECT_INSERT && relation->rd_rel->relkind != RELKIND_RELATION)
		return false;
	return table->purpose < DIRECT_CHANGE || (!relation->rd_rel->relhassubclass && !IsolationIsSerializable());
}

/* Finds the columns; returns false where one is not there or not what the caller gives. */
static bool
find_columns(const DirectTable *table, Relation relation, AttrNumber *attributes)
{
	int next = 0;

	for (int i = 0; i < table->ncolumns; i++)
	{
		Form_pg_attribute attribute = table_column_find(RelationGetDescr(relation), &table->columns[i], &next);

		if (attribute == NULL || attribute->atttypmod != -1 || attribute->attgenerated != '\0' ||
			attribute->attidentity == ATTRIBUTE_IDENTITY_ALWAYS)
			return false;
		attributes[i] = attribute->attnum;
	}
	return true;
}

/* Returns the range table's only entry, with the rights that the statement would need. */
static RangeTblEntry *
range_table_entry(const DirectTable *table, Relation relation, const AttrNumber *attributes, List **permissions)
{
	RangeTblEntry *entry = makeNode(RangeTblEntry);
	RangeTablePermission *permission;

	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(relation);
	entry->relkind = relation->rd_rel->relkind;
	entry->rellockmode = RowExclusiveLock;
	*permissions = NIL;
	permission = range_table_permission(permissions, entry);
	permission->requiredPerms = table->purpose == DIRECT_INSERT       ? ACL_INSERT
								: table->purpose == DIRECT_INSERT_NEW ? ACL_INSERT | ACL_SELECT
								: table->purpose == DIRECT_CHANGE     ? ACL_UPDATE | ACL_SELECT
																	  : ACL_INSERT | ACL_UPDATE | ACL_SELECT;
	for (int i = 0; i < table->ncolumns; i++)
	{
		int column = attributes[i] - FirstLowInvalidHeapAttributeNumber;

		if (permission->requiredPerms & ACL_INSERT)
			permission->insertedCols = bms_add_member(permission->insertedCols, column);
		if ((permission->requiredPerms & ACL_UPDATE) && i >= table->nkeys)
			permission->updatedCols = bms_add_member(permission->updatedCols, column);
		if ((permission->requiredPerms & ACL_SELECT) && (i < table->nkeys || table->purpose != DIRECT_INSERT_NEW))
			permission->selectedCols = bms_add_member(permission->selectedCols, column);
	}
	return entry;
}

/* Readies the defaults of the columns that are not given; returns false where one of them is not to be had so. */
static bool
find_defaults(DirectWrite *write)
{
	Relation relation = write->info->ri_RelationDesc;
	TupleDesc desc = RelationGetDescr(relation);

	write->defaults = palloc0(sizeof(ExprState *) * desc->natts);
	write->default_values = palloc0(sizeof(Datum) * desc->natts);
	write->default_nulls = palloc0(sizeof(bool) * desc->natts);
	write->default_constant = palloc0(sizeof(bool) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		bool given = false;
		bool changeable = true;
		const char *node;

		for (int j = 0; j < write->table->ncolumns && !given; j++)
			given = write->attributes[j] == attribute->attnum;
		write->default_nulls[i] = true;
		if (given || attribute->attisdropped || attribute->attgenerated != '\0')
			continue;
		/* A type's own default, or the constraints of a domain. */
		if (attribute->atttypid >= FirstNormalObjectId && get_typtype(attribute->atttypid) != TYPTYPE_BASE &&
			get_typtype(attribute->atttypid) != TYPTYPE_ENUM)
			return false;

		node = attribute->attidentity != '\0' ? NULL : table_default(desc, attribute->attnum);
		if (node != NULL)
			write->defaults[i] = expression_get(node, write->estate, &changeable);
		else
		{
			Expr *expression = (Expr *) build_column_default(relation, attribute->attnum);

			if (expression != NULL)
				write->defaults[i] = ExecPrepareExpr(expression, write->estate);
		}
		if (write->defaults[i] != NULL && !changeable)
		{
			write->default_values[i] =
				ExecEvalExpr(write->defaults[i], CreateExprContext(write->estate), &write->default_nulls[i]);
			write->default_constant[i] = true;
		}
	}
	return true;
}

/* Readies look-ups by the primary key; returns false where the table's indexes are not what the caller expects. */
static bool
find_key(DirectWrite *write)
{
	ResultRelInfo *info = write->info;
	Oid key = info->ri_RelationDesc->rd_pkindex; /* read with the indexes */

	for (int i = 0; i < info->ri_NumIndices; i++)
	{
		Relation index = info->ri_IndexRelationDescs[i];

		if (RelationGetRelid(index) == key)
			write->key = index;
		else if (index->rd_index->indisunique || index->rd_index->indisexclusion)
			return false;
	}
	if (write->key == NULL || !write->key->rd_index->indimmediate || !write->key->rd_index->indisvalid ||
		write->key->rd_rel->relam != BTREE_AM_OID ||
		IndexRelationGetNumberOfKeyAttributes(write->key) != write->table->nkeys)
		return false;
	for (int i = 0; i < write->table->nkeys; i++)
	{
		Oid input = write->key->rd_opcintype[i];
		Oid equal = get_opfamily_member(write->key->rd_opfamily[i], input, input, BTEqualStrategyNumber);

		if (write->key->rd_index->indkey.values[i] != write->attributes[i] || !OidIsValid(equal))
			return false;
		ScanKeyEntryInitialize(&write->key_scan[i], 0, (AttrNumber) (i + 1), BTEqualStrategyNumber, InvalidOid,
							   write->key->rd_indcollation[i], get_opcode(equal), (Datum) 0);
	}
	write->arbiters = list_make1_oid(key);
	return true;
}

/* Opens the table and its indexes, with what the executor has of them. */
static void
open_tables(DirectWrite *write, Relation relation)
{
	EState *estate = write->estate;

	ExecInitResultRelation(estate, write->info, 1);
	relation_close(relation, NoLock);
	if (relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ExecOpenIndices(write->info, write->table->purpose != DIRECT_INSERT);
	write->state = makeNode(ModifyTableState);
	write->state->ps.state = estate;
	write->state->operation = write->table->purpose == DIRECT_CHANGE ? CMD_UPDATE : CMD_INSERT;
	write->state->mt_nrels = 1;
	write->state->resultRelInfo = write->state->rootResultRelInfo = write->info;
	if (relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		write->routing = ExecSetupPartitionTupleRouting(estate, relation);
	if (write->table->purpose >= DIRECT_CHANGE)
		CheckCmdReplicaIdentity(relation, CMD_UPDATE);
	write->row = ExecAllocTableSlot(&estate->es_tupleTable, RelationGetDescr(relation), &TTSOpsVirtual);
	direct_prepare(write, write->info);
}

/* Ends what direct_open() began of the executor's state. */
static void
free_state(DirectWrite *write)
{
	EState *estate = write->estate;

	if (write->scan != NULL)
		direct_find_end(write);
	if (write->routing != NULL)
		ExecCleanupTupleRouting(write->state, write->routing);
	ExecResetTupleTable(estate->es_tupleTable, false);
	ExecCloseResultRelations(estate);
	ExecCloseRangeTableRelations(estate);
	FreeExecutorState(estate);
}

/*
 * direct_open begins to write to a table of the extension, or returns NULL where the caller must run its statement.
 *
 * Needs a transaction that may write, with the role set whose rights count. Each writer sees what was written before it
 * was opened; nothing else may be open inside it but what constraints start. What it allocates lives until
 * direct_close(). Raises 55000 before setup().
 */
DirectWrite *
direct_open(const DirectTable *table)
{
	Oid relid = omni_table(table->name);
	AttrNumber attributes[TABLE_COLUMNS];
	MemoryContext old;
	Relation relation;
	List *permissions;
	List *tables;
	DirectWrite *write;
	EState *estate;

	Assert(table->ncolumns <= TABLE_COLUMNS);
	if (XactReadOnly || RecoveryInProgress() || IsInParallelMode())
		return NULL;
	relation = try_relation_open(relid, RowExclusiveLock);
	if (relation == NULL)
		return NULL;
	if (!is_suitable(table, relation) || !find_columns(table, relation, attributes))
	{
		relation_close(relation, NoLock);
		return NULL;
	}

	spi_scope_pin();
	CommandCounterIncrement();
	estate = CreateExecutorState();
	old = MemoryContextSwitchTo(estate->es_query_cxt);
	expressions_use(estate);
	tables = list_make1(range_table_entry(table, relation, attributes, &permissions));
	if (!range_table_permitted(tables, permissions))
	{
		MemoryContextSwitchTo(old);
		FreeExecutorState(estate);
		relation_close(relation, NoLock);
		return NULL;
	}
	write = palloc0(sizeof(DirectWrite));
	write->table = table;
	write->estate = estate;
	memcpy(write->attributes, attributes, sizeof(attributes));
	init_range_table(estate, tables, permissions);
	write->info = makeNode(ResultRelInfo);
	PushActiveSnapshot(GetTransactionSnapshot());
	estate->es_snapshot = GetActiveSnapshot();
	open_tables(write, relation);
	if ((table->purpose != DIRECT_CHANGE && !find_defaults(write)) ||
		(table->purpose != DIRECT_INSERT && !find_key(write)))
	{
		MemoryContextSwitchTo(old);
		PopActiveSnapshot();
		free_state(write);
		return NULL;
	}
	write->command = GetCurrentCommandId(true);
	AfterTriggerBeginQuery();
	MemoryContextSwitchTo(old);
	return write;
}

/* Writes what was added, checks foreign keys, and frees the writer. */
void
direct_close(DirectWrite *write)
{
	if (write->rows > 0)
		(void) direct_flush(write, NULL);
	AfterTriggerEndQuery(write->estate);
	PopActiveSnapshot();
	free_state(write);
	CommandCounterIncrement();
}
