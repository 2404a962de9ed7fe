/*
 * look.c
 *	  Rows found by an index without SQL, where nothing asks for SQL, or all rows of a table.
 *
 * A statement that reads one row builds an executor up and tears it down, which costs ten times what the index does;
 * test/bench/contact.sh and prices.sh show what is saved. look_open() answers false, and its caller runs the statement
 * that it keeps, wherever that would not be the same:
 *
 * - the table is no ordinary table in the server's own heap, or others inherit from it;
 * - it has rules, or triggers other than those of its foreign keys and this extension: Citus and TimescaleDB mark their
 *   tables by triggers;
 * - it has row security, whomever that is for;
 * - the current role may not read all of it, so that the statement raises the error, or somebody else is to be asked
 *   (ExecutorCheckPerms_hook, as pgAudit does);
 * - a column is not there, or of another type;
 * - no valid btree of all rows that may be found leads with the keys, by the equality and the collation that a
 *   statement compares with;
 * - in SERIALIZABLE, where rows must be read as queries read them.
 *
 * For a cache of configuration only some of this matters: config_cache_get() has decided with whose rights its rows are
 * read, and only those read with the owner's come this way. There the table must hold its rows itself, which it may not
 * where there is Citus. Its rows are found on the index's leaves (core/look_leaf.c), and where the index holds all
 * columns, those on pages that everyone sees are read from it alone, as index-only scans do.
 *
 * What was found to hold is kept until any relation or role changes.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/nbtree.h"
#include "access/relation.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/tupmacs.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "omnichannel.h"
#include "core/look_columns.h"

/* Returns how the table is locked: not once more where what is found will be changed. */
static LOCKMODE
lock_mode(const LookUp *look)
{
	return look->for_change ? RowExclusiveLock : AccessShareLock;
}

/* Opens what is known; returns false where it does not hold any more. */
static bool
open_relations(LookScan *scan, const LookUp *look)
{
	LockRelationOid(look->table_oid, lock_mode(look));
	if (look->generation != relations_generation())
	{
		UnlockRelationOid(look->table_oid, lock_mode(look));
		return false;
	}
	/* Under the lock nothing is dropped that was there before it. */
	scan->table = relation_open(look->table_oid, NoLock);
	scan->empty = look->seldom && RelationGetNumberOfBlocks(scan->table) == 0;
	if (look->nkeys > 0 && !scan->empty)
		scan->index = relation_open(look->index_oid, AccessShareLock);
	return look->generation == relations_generation();
}

/*
 * Closes the table and the index. The table stays locked as by a statement. The index does not where contacts are
 * logged: of the many that they look at, not all locks would fit where a backend keeps its own.
 */
static void
close_relations(LookScan *scan)
{
	if (scan->index != NULL)
		relation_close(scan->index, scan->look->for_cache ? NoLock : AccessShareLock);
	if (scan->table != NULL)
		relation_close(scan->table, NoLock);
	scan->index = scan->table = NULL;
}

/*
 * Finds out about the table and its indexes, and opens them; returns false where the statement is to be run.
 *
 * It waits for locks, which an error may end: nothing is known until all is found out.
 */
static bool
resolve(LookUp *look, LookScan *scan)
{
	uint64 generation;
	bool found;

	look->generation = 0;
	look->table_oid = omni_table(look->table);
	scan->table = try_relation_open(look->table_oid, lock_mode(look));
	if (scan->table == NULL)
		return false;
	look->role = GetUserId();
	generation = relations_generation();
	found = look_resolve(look, scan->table);
	if (found && look->nkeys > 0)
	{
		scan->index = try_relation_open(look->index_oid, AccessShareLock);
		found = scan->index != NULL;
	}
	look->generation = generation;
	return found;
}

/* Opens what the look-up is of, as far as its rows may be read here; returns false where the statement is to be run. */
static bool
open_look(LookScan *scan, LookUp *look)
{
	scan->look = look;
	scan->table = scan->index = NULL;
	scan->empty = false;
	if (!look->for_cache && (IsolationIsSerializable() || ExecutorCheckPerms_hook != NULL))
		return false;
	if (look->generation != relations_generation() || look->role != GetUserId() ||
		(!look->refused && !open_relations(scan, look)))
	{
		close_relations(scan);
		look->refused = !resolve(look, scan);
	}
	if (look->refused)
		close_relations(scan);
	return !look->refused;
}

/*
 * look_open readies a scan for look_find() with the first nkeys keys, or one without keys for all rows in their
 * physical order; returns false where the caller must run a statement.
 *
 * Under the snapshot, or, where that is NULL, under one taken now, as by a statement. Nothing that the extension has
 * not written may run until look_end(). The scan keeps things in the current context, which must be that of each
 * look_next(), and may not be reset before look_end(). Raises 55000 before setup().
 */
bool
look_open(LookScan *scan, LookUp *look, int nkeys, Snapshot snapshot)
{
	if (!open_look(scan, look))
		return false;
	if (scan->empty)
	{
		close_relations(scan);
		return true;
	}
	scan->snapshot = snapshot == NULL;
	if (scan->snapshot)
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
		snapshot = GetActiveSnapshot();
	}
	scan->slot = NULL;
	scan->leaves = NULL;
	scan->nkeys = nkeys;
	scan->buffer = InvalidBuffer;
	scan->follows = false;
	scan->leaps = 0;
	if (look->nkeys > 0 && look->for_cache && IsMVCCSnapshot(snapshot) && !IsolationIsSerializable())
	{
		leaf_open(scan, snapshot);
		return true;
	}
	scan->slot = table_slot_create(scan->table, NULL);
	if (look->nkeys == 0)
	{
		scan->whole = table_beginscan_strat(scan->table, snapshot, 0, NULL, true, false);
		return true;
	}
	memcpy(scan->keys, look->scan_keys, sizeof(ScanKeyData) * nkeys);
	scan->scan = index_scan_begin(scan->table, scan->index, snapshot, nkeys);
	return true;
}

/*
 * look_turn goes on in the table by another look-up, of a cache too, as look_open() with the first nkeys keys would:
 * the table stays open. Returns false where it must be opened anew, or has been closed: nothing is left to end then.
 */
bool
look_turn(LookScan *scan, LookUp *look, int nkeys)
{
	Snapshot snapshot;

	if (scan->empty || scan->leaves == NULL || look->refused || look->generation != relations_generation() ||
		look->role != GetUserId() || look->table_oid != RelationGetRelid(scan->table))
	{
		look_end(scan);
		return false;
	}
	snapshot = leaf_end(scan);
	relation_close(scan->index, NoLock);
	scan->index = relation_open(look->index_oid, AccessShareLock);
	scan->look = look;
	scan->nkeys = nkeys;
	leaf_open(scan, snapshot);
	return true;
}

/* look_find begins with the rows that have these keys. */
void
look_find(LookScan *scan, const Datum *keys)
{
	if (scan->empty)
		return;
	if (scan->leaves != NULL)
	{
		leaf_find(scan, keys);
		return;
	}
	for (int i = 0; i < scan->nkeys; i++)
		scan->keys[i].sk_argument = keys[i];
	scan->follows = false;
	index_rescan(scan->scan, scan->keys, scan->nkeys, NULL, 0);
}

/*
 * look_expect says that look_find() will be asked for each of these keys, in this order: fastest where that is the
 * index's. They must stay where they are until it was. Only for one key column.
 */
void
look_expect(LookScan *scan, const Datum *keys, int nkeys)
{
	if (!scan->empty && scan->leaves != NULL)
		leaf_expect(scan, keys, nkeys);
}

/* Returns the last of the keys of the row that the index is on; it has those before it. */
static Datum
key_of_row(LookScan *scan)
{
	bool isnull;

	/* The first one lies at the beginning, whatever is NULL behind it. */
	if (scan->nkeys == 1)
		return fetchatt(TupleDescAttr(scan->scan->xs_itupdesc, 0),
						(char *) scan->scan->xs_itup + IndexInfoFindDataOffset(scan->scan->xs_itup->t_info));
	return index_getattr(scan->scan->xs_itup, scan->nkeys, scan->scan->xs_itupdesc, &isnull);
}

/* Returns how two of the last keys follow each other in the index. */
static int
compare_keys(LookScan *scan, Datum a, Datum b)
{
	return DatumGetInt32(FunctionCall2Coll(index_getprocinfo(scan->index, (AttrNumber) scan->nkeys, BTORDER_PROC),
										   scan->keys[scan->nkeys - 1].sk_collation, a, b));
}

/* Goes on to a row that was not asked for yet, unless the index is on one; returns false after the last. */
static bool
look_ahead(LookScan *scan)
{
	if (!scan->ahead && !scan->ended)
	{
		scan->ahead = index_getnext_tid(scan->scan, ForwardScanDirection) != NULL;
		scan->ended = !scan->ahead;
	}
	return scan->ahead;
}

/* Returns whether two keys are the same. */
static bool
keys_equal(const LookScan *scan, int key, Datum a, Datum b)
{
	return index_keys_equal(TupleDescAttr(RelationGetDescr(scan->index), key), a, b);
}

/* Returns whether the row that the index is on has the last of the keys. */
static bool
row_has_key(LookScan *scan, Datum key)
{
	return keys_equal(scan, scan->nkeys - 1, key_of_row(scan), key);
}

/* Returns whether no row of the keys was passed: it is the one that the index is on, or comes after the one before. */
static bool
may_follow(LookScan *scan, const Datum *keys)
{
	int last = scan->nkeys - 1;

	for (int i = 0; i < last; i++)
		if (!keys_equal(scan, i, scan->followed[i], keys[i]))
			return false;
	if (keys_equal(scan, last, scan->followed[last], keys[last]))
		return false;
	return (look_ahead(scan) && row_has_key(scan, keys[last])) ||
		   compare_keys(scan, scan->followed[last], keys[last]) < 0;
}

/* The last key of a row that was passed, where it is a text and not long. */
typedef struct PassedKey
{
	Size length;
	char bytes[64];
} PassedKey;

/* Returns whether the row that the index is on comes after the key. Rows of one key come together: one is compared. */
static bool
is_behind(LookScan *scan, Datum key, PassedKey *passed)
{
	Datum own = key_of_row(scan);
	Size length;

	if (TupleDescAttr(RelationGetDescr(scan->index), scan->nkeys - 1)->attbyval)
		return compare_keys(scan, own, key) > 0;
	length = VARSIZE_ANY_EXHDR(DatumGetPointer(own));
	if (length > 0 && length == passed->length && memcmp(VARDATA_ANY(DatumGetPointer(own)), passed->bytes, length) == 0)
		return false;
	if (compare_keys(scan, own, key) > 0)
		return true;
	passed->length = length <= sizeof(passed->bytes) ? length : 0;
	memcpy(passed->bytes, VARDATA_ANY(DatumGetPointer(own)), passed->length);
	return false;
}

/*
 * Rows that are passed on the way to the next key before it is sought from the root, how often that is worth it, and of
 * how many rows it is.
 */
#define FOLLOW_ROWS 64
#define FOLLOW_LEAPS 2
#define FOLLOW_NEAR 16

/*
 * look_follow does as look_find() for keys of which the last mostly comes after the one before, and not far: it goes
 * there through the leaves, which takes a fraction of a descent from the root. Keys that turn out to lie apart are
 * sought one by one. Keys must stay where they are until the next call; the last one is a text or a bigint.
 */
void
look_follow(LookScan *scan, const Datum *keys)
{
	int last = scan->nkeys - 1;
	ScanKeyData from[LOOK_KEYS];
	PassedKey passed = {0};

	if (scan->empty)
		return;
	if (scan->leaves != NULL)
	{
		leaf_find(scan, keys);
		return;
	}
	if (scan->follows && may_follow(scan, keys))
		for (int i = 0; i < FOLLOW_ROWS; i++)
		{
			if (!look_ahead(scan) || row_has_key(scan, keys[last]) || is_behind(scan, keys[last], &passed))
			{
				if (i < FOLLOW_NEAR)
					scan->leaps = 0;
				scan->followed[last] = keys[last];
				return;
			}
			scan->ahead = false;
		}
	if (scan->leaps >= FOLLOW_LEAPS || scan->look->from_keys[last].sk_attno == 0 ||
		!IsMVCCSnapshot(scan->scan->xs_snapshot))
	{
		look_find(scan, keys);
		return;
	}
	scan->leaps++;
	for (int i = 0; i <= last; i++)
	{
		from[i] = i == last ? scan->look->from_keys[i] : scan->keys[i];
		from[i].sk_argument = scan->followed[i] = keys[i];
	}
	scan->scan->xs_want_itup = true;
	scan->follows = true;
	scan->ahead = scan->ended = false;
	index_rescan(scan->scan, from, scan->nkeys, NULL, 0);
}

/* look_begin does both. */
bool
look_begin(LookScan *scan, LookUp *look, const Datum *keys, int nkeys, Snapshot snapshot)
{
	if (!look_open(scan, look, nkeys, snapshot))
		return false;
	look_find(scan, keys);
	return true;
}

/* Goes to the next place that the index has for the keys; NULL after the last. */
static ItemPointer
next_place(LookScan *scan, ScanDirection direction)
{
	if (!scan->follows)
		return index_getnext_tid(scan->scan, direction);
	if (!look_ahead(scan) || !row_has_key(scan, scan->followed[scan->nkeys - 1]))
		return NULL;
	scan->ahead = false;
	return &scan->scan->xs_heaptid;
}

/*
 * look_begin_some does the same by all of the look-up's keys, each as `how` says of it: rows that differ in a column
 * behind one that is not compared are passed over in the index.
 */
bool
look_begin_some(LookScan *scan, LookUp *look, const Datum *keys, const LookKey *how, Snapshot snapshot)
{
	int used = 0;

	for (int i = 0; i < look->nkeys; i++)
		used += how[i] != LOOK_ANY;
	if (!look_open(scan, look, used, snapshot))
		return false;
	if (scan->empty)
		return true;
	used = 0;
	for (int i = 0; i < look->nkeys; i++)
	{
		ScanKey key = &scan->keys[used];

		if (how[i] == LOOK_ANY)
			continue;
		*key = look->scan_keys[i];
		key->sk_argument = keys[i];
		if (how[i] == LOOK_NULL)
		{
			key->sk_flags = SK_ISNULL | SK_SEARCHNULL;
			key->sk_strategy = InvalidStrategy;
			key->sk_argument = (Datum) 0;
		}
		used++;
	}
	index_rescan(scan->scan, scan->keys, used, NULL, 0);
	return true;
}

/* Goes to the next row that the snapshot sees. */
static bool
next_row(LookScan *scan, ScanDirection direction)
{
	ItemPointer place;

	/* Others may see several versions of a row. */
	if (!IsMVCCSnapshot(scan->scan->xs_snapshot))
		return index_getnext_slot(scan->scan, direction, scan->slot);
	while ((place = next_place(scan, direction)) != NULL)
		if (index_fetch_row(scan->scan, place, &scan->buffer, scan->slot))
			return true;
	return false;
}

/* look_columns_of_slot sets the columns from the slot. */
void
look_columns_of_slot(LookScan *scan, Datum *values, bool *nulls)
{
	const LookUp *look = scan->look;

	slot_getsomeattrs(scan->slot, look->last);
	for (int i = 0; i < look->ncolumns; i++)
	{
		values[i] = scan->slot->tts_values[look->attributes[i] - 1];
		nulls[i] = scan->slot->tts_isnull[look->attributes[i] - 1];
	}
}

/*
 * look_at sets the columns of the row whose version is at a place, as look_next() does, but none without a type;
 * returns false where the snapshot does not see that. Whatever row it is: the place may be another one's by now.
 */
bool
look_at(LookScan *scan, const ItemPointerData *place, Datum *values, bool *nulls)
{
	if (scan->empty || !table_tuple_fetch_row_version(scan->table, unconstify(ItemPointerData *, place),
													  scan->scan->xs_snapshot, scan->slot))
		return false;
	look_columns_of_slot(scan, values, nulls);
	return true;
}

/* look_text returns what is stored in a column without a type as its text, in the current context. */
Datum
look_text(const LookUp *look, int column, Datum value)
{
	return CStringGetTextDatum(OutputFunctionCall(&look->outputs[column], value));
}

/* Sets the columns of the next row of a scan that is not of leaves; returns false after the last. */
static bool
next_in_slot(LookScan *scan, bool backwards, Datum *values, bool *nulls)
{
	ScanDirection direction = backwards ? BackwardScanDirection : ForwardScanDirection;

	if (scan->look->nkeys == 0 ? !table_scan_getnextslot(scan->whole, direction, scan->slot)
							   : !next_row(scan, direction))
		return false;
	if (scan->look->nkeys > 0 ||
		!look_columns_of_row(scan->look, ((BufferHeapTupleTableSlot *) scan->slot)->base.tuple->t_data, values, nulls))
		look_columns_of_slot(scan, values, nulls);
	return true;
}

/* Makes columns without a type their text. */
static void
columns_as_text(const LookUp *look, Datum *values, const bool *nulls)
{
	for (int i = 0; i < look->ncolumns; i++)
		if (!OidIsValid(look->columns[i].type) && !nulls[i])
			values[i] = look_text(look, i, values[i]);
}

/*
 * look_next sets the columns of the next row, in the look-up's order; returns false after the last.
 *
 * Values are good until the next call; those of a column without a type are its text, in the current context.
 */
bool
look_next(LookScan *scan, bool backwards, Datum *values, bool *nulls)
{
	const LookUp *look = scan->look;
	bool found;

	CHECK_FOR_INTERRUPTS();
	if (scan->empty)
		return false;
	Assert(scan->leaves == NULL || !backwards);
	if (scan->leaves != NULL && look->covered)
		found = leaf_next_covered(scan, values, nulls, 1) > 0;
	else if (scan->leaves != NULL)
		found = leaf_next(scan, values, nulls);
	else
		found = next_in_slot(scan, backwards, values, nulls);
	if (look->outputs != NULL && !look->as_stored && found)
		columns_as_text(look, values, nulls);
	return found;
}

/*
 * look_next_rows sets the columns of the next rows, LOOK_ROWS at most, one behind the other; returns how many they are,
 * 0 after the last. Mostly they are all of a few at once, which takes less than to ask for each.
 */
int
look_next_rows(LookScan *scan, Datum *values, bool *nulls)
{
	if (!scan->empty && scan->leaves != NULL && scan->look->covered && scan->look->outputs == NULL)
	{
		CHECK_FOR_INTERRUPTS();
		return leaf_next_covered(scan, values, nulls, LOOK_ROWS);
	}
	return look_next(scan, false, values, nulls) ? 1 : 0;
}

/*
 * look_fetch sets the columns of the row whose version at a place of the table the snapshot sees, which may be another
 * row's by now; returns false where it sees none there, or the look-up, one without keys, will not do. After true,
 * look_end() ends it.
 */
bool
look_fetch(LookScan *scan, LookUp *look, ItemPointer place, Snapshot snapshot, Datum *values, bool *nulls)
{
	if (!open_look(scan, look))
		return false;
	scan->slot = table_slot_create(scan->table, NULL);
	scan->whole = NULL;
	scan->leaves = NULL;
	scan->buffer = InvalidBuffer;
	scan->snapshot = false;
	if (ItemPointerGetBlockNumber(place) < RelationGetNumberOfBlocks(scan->table) &&
		table_tuple_fetch_row_version(scan->table, place, snapshot, scan->slot))
	{
		look_columns_of_slot(scan, values, nulls);
		return true;
	}
	look_end(scan);
	return false;
}

/*
 * look_touched returns whether another transaction has changed or deleted the row that was found last since the
 * snapshot, or may be about to: not that it only holds the row, nor mostly that it has rolled back. Costs a look at the
 * version's header, not at the transaction.
 */
bool
look_touched(const LookScan *scan)
{
	uint16 infomask;

	if (scan->slot == NULL || !TTS_IS_BUFFERTUPLE(scan->slot))
		return true;
	infomask = ((const BufferHeapTupleTableSlot *) scan->slot)->base.tuple->t_data->t_infomask;
	return !(infomask & HEAP_XMAX_INVALID) && !HEAP_XMAX_IS_LOCKED_ONLY(infomask);
}

/* look_end ends what look_open(), look_begin() or look_fetch() began. */
void
look_end(LookScan *scan)
{
	if (scan->empty)
		return;
	if (scan->slot != NULL)
		ExecDropSingleTupleTableSlot(scan->slot);
	if (scan->look->nkeys == 0)
	{
		if (scan->whole != NULL)
			table_endscan(scan->whole);
	}
	else if (scan->leaves != NULL)
		(void) leaf_end(scan);
	else
		index_endscan(scan->scan);
	if (BufferIsValid(scan->buffer))
		ReleaseBuffer(scan->buffer);
	if (scan->snapshot)
		PopActiveSnapshot();
	close_relations(scan);
}

/*
 * look_up_id returns a column of the row that has these keys, a bigint, or 0 where there is none; where the look-up
 * will not do, what the statement finds by them. Needs an SPI scope.
 */
int64
look_up_id(LookUp *look, int column, KeptPlan *statement, Datum *keys)
{
	Datum values[TABLE_COLUMNS];
	bool nulls[TABLE_COLUMNS];
	LookScan scan;
	int64 id = 0;

	if (look_begin(&scan, look, keys, look->nkeys, NULL))
	{
		if (look_next(&scan, false, values, nulls))
			id = DatumGetInt64(values[column]);
		look_end(&scan);
	}
	else if (kept_plan_run(statement, keys, NULL, false, 1) > 0)
		id = spi_id(0, 1);
	return id;
}
