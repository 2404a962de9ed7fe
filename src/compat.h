/*
 * compat.h
 *	  The differences between PostgreSQL 14 and 18, in one place.
 *
 * Every test of PG_VERSION_NUM stands here; the rest of the code is written for the newest form.
 */
#ifndef OMNICHANNEL_COMPAT_H
#define OMNICHANNEL_COMPAT_H

#include "access/tableam.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/proc.h"

#if PG_VERSION_NUM < 140000
#error "omnichannel needs PostgreSQL 14 or later"
#endif

/* The local transaction id moved into the virtual one in 17, whose process is found by another number since. */
#if PG_VERSION_NUM >= 170000
#include "storage/procarray.h"
#define vxid_process(id) ProcNumberGetProc((id).procNumber)
#define process_lxid(process) ((process)->vxid.lxid)
#else
#include "storage/sinvaladt.h"
#define vxid_process(id) BackendIdGetProc((id).backendId)
#define process_lxid(process) ((process)->lxid)
#endif
#define MY_LXID process_lxid(MyProc)

/* Since 17 it also says whether a stronger lock is enough. */
#if PG_VERSION_NUM >= 170000
#define lock_held_by_me(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define lock_held_by_me(tag, mode) LockHeldByMe(tag, mode)
#endif

/* The end of the record that a standby replays; 14 does not tell it. */
#if PG_VERSION_NUM >= 150000
#include "access/xlogrecovery.h"
#define replay_position() GetCurrentReplayRecPtr(NULL)
#define replay_is_past(position) (GetXLogReplayRecPtr(NULL) >= (position))
#else
#define replay_position() InvalidXLogRecPtr
#define replay_is_past(position) ((position) == InvalidXLogRecPtr)
#endif

/* The file of a relation has its name since 16. */
#if PG_VERSION_NUM < 160000
#define RelFileLocator RelFileNode
#define RelFileLocatorEquals(a, b) RelFileNodeEquals(a, b)
#define rd_locator rd_node
#define rd_newRelfilelocatorSubid rd_newRelfilenodeSubid
#endif

/* The root of a btree index is found with its table at hand since 16; no snapshot is too old for a page since 17. */
#if PG_VERSION_NUM >= 160000
#define bt_getroot(index, table) _bt_getroot(index, table, BT_READ)
#else
#define bt_getroot(index, table) _bt_getroot(index, BT_READ)
#endif
#if PG_VERSION_NUM >= 170000
#define page_test_snapshot(snapshot, relation, page) ((void) (page))
#else
#define page_test_snapshot(snapshot, relation, page) TestForOldSnapshot(snapshot, relation, page)
#endif

/* 18 keeps with a collation whether it compares bytes. Needs utils/pg_locale.h, and that the headers of ICU. */
#if PG_VERSION_NUM >= 180000
#define collation_is_c(collation) (pg_newlocale_from_collation(collation)->collate_is_c)
#else
#define collation_is_c(collation) lc_collate_is_c(collation)
#endif

/* Settings below a prefix that the library does not know are told of, in 15 by a better name. */
#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* 15 brought it along with its like for unsigned numbers. */
#if PG_VERSION_NUM < 150000
#define strtoi64(text, end, base) ((int64) strtoll(text, end, base))
#endif

/* 18 writes it before the declaration, and no longer has the form that stood behind it. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn __attribute__((noreturn))
#endif

/* Soft errors of input functions arrived in 16. */
#ifndef ereturn
#define ereturn(context, dummy_value, ...) ereport(ERROR, __VA_ARGS__)
#endif

/* make_range() learned to report errors softly in 16. */
#if PG_VERSION_NUM < 160000
#include "utils/rangetypes.h"
#define make_range(typcache, lower, upper, empty, escontext) make_range(typcache, lower, upper, empty)
#endif

/* 18 can leave room before a minimal tuple. */
#if PG_VERSION_NUM < 180000
#include "access/htup_details.h"
#define minimal_tuple_from_heap_tuple(tuple, extra) minimal_tuple_from_heap_tuple(tuple)
#define heap_copy_minimal_tuple(tuple, extra) heap_copy_minimal_tuple(tuple)
#endif

/*
 * Declares a function that SQL calls. Under hidden visibility the symbol itself must be exported too, which
 * PG_FUNCTION_INFO_V1 does from 16 on only.
 */
#define SQL_FUNCTION(name)                                                                                             \
	extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                                                                   \
	PG_FUNCTION_INFO_V1(name)

/* Intervals became infinite in 17. */
#if PG_VERSION_NUM < 170000
#define INTERVAL_NOT_FINITE(interval) ((void) (interval), false)
#endif

/* Returns the descriptor of the rows that the function at hand returns. */
static inline TupleDesc
result_row(FunctionCallInfo fcinfo)
{
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return BlessTupleDesc(desc);
}

/*
 * Prepares a set-returning function to put its rows into fcinfo's tuplestore. 15 has a function for it, which its first
 * minor releases called SetSingleFuncCall; what it does is written out here for 14.
 */
#if PG_VERSION_NUM >= 150000
#define init_materialized_srf(fcinfo) InitMaterializedSRF(fcinfo, 0)
#else
static inline void
init_materialized_srf(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;

	if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("set-valued function called in context that cannot accept a set")));
	old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	result->returnMode = SFRM_Materialize;
	result->setResult = tuplestore_begin_heap(true, false, work_mem);
	result->setDesc = result_row(fcinfo);
	MemoryContextSwitchTo(old);
}
#endif

/* parse_analyze() was renamed in 15. */
#if PG_VERSION_NUM >= 150000
#define parse_fixed(raw, text) parse_analyze_fixedparams(raw, text, NULL, 0, NULL)
#else
#define parse_fixed(raw, text) parse_analyze(raw, text, NULL, 0, NULL)
#endif

/* foreach_ptr arrived in 17. */
#ifndef foreach_ptr
#define foreach_ptr(type, var, lst)                                                                                    \
	for (type *var = NULL, *var##__outer = (type *) 1; var##__outer; var##__outer = NULL)                              \
		for (ListCell *var##__cell = list_head(lst); var##__cell != NULL && (var = lfirst(var##__cell), true);         \
			 var##__cell = lnext(lst, var##__cell))
#endif

/*
 * The executor's state of a table that is written to.
 *
 * 16 took permissions out of range table entries, 18 takes the relations that were not pruned.
 */
#if PG_VERSION_NUM >= 160000
#define RangeTablePermission RTEPermissionInfo
#define range_table_permission(permissions, entry) addRTEPermissionInfo(permissions, entry)
#define range_table_permitted(tables, permissions) ExecCheckPermissions(tables, permissions, false)
#else
#define RangeTablePermission RangeTblEntry
#define range_table_permission(permissions, entry) (*(permissions) = NIL, (entry))
#define range_table_permitted(tables, permissions) ExecCheckRTPerms(tables, false)
#endif
#if PG_VERSION_NUM >= 180000
#define init_range_table(estate, tables, permissions)                                                                  \
	ExecInitRangeTable(estate, tables, permissions, bms_make_singleton(1))
#elif PG_VERSION_NUM >= 160000
#define init_range_table(estate, tables, permissions) ExecInitRangeTable(estate, tables, permissions)
#else
#define init_range_table(estate, tables, permissions) ExecInitRangeTable(estate, tables)
#endif

/* 18 tells checks from the expressions of virtual columns, and has both virtual columns and checks that do not hold. */
#if PG_VERSION_NUM < 180000
#define ri_CheckConstraintExprs ri_ConstraintExprs
#define has_virtual_columns(constraints) false
#define check_is_enforced(check) true
#else
#define has_virtual_columns(constraints) ((constraints)->has_generated_virtual)
#define check_is_enforced(check) ((check)->ccenforced)
#endif

/* 16 computes the map from a partitioned table to a partition when it is first asked for. */
#if PG_VERSION_NUM >= 160000
#define partition_map(info, estate) ExecGetRootToChildMap(info, estate)
#else
#define partition_map(info, estate) ((info)->ri_RootToPartitionMap)
#endif

/* 16 asks whether only summarizing indexes need the new version of a row, 18 which row is not to be compared. */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes UpdatedIndexes;
#define UPDATED_INDEXES(updated) ((updated) != TU_None)
#define insert_index_tuples(info, slot, estate, update, no_error, conflict, arbiters, updated)                         \
	ExecInsertIndexTuples(info, slot, estate, update, no_error, conflict, arbiters, (updated) == TU_Summarizing)
#define NO_UPDATED_INDEXES TU_None
#else
typedef bool UpdatedIndexes;
#define UPDATED_INDEXES(updated) (updated)
#define insert_index_tuples(info, slot, estate, update, no_error, conflict, arbiters, updated)                         \
	ExecInsertIndexTuples(info, slot, estate, update, no_error, conflict, arbiters)
#define NO_UPDATED_INDEXES false
#endif
#include "access/heapam.h"
static inline TM_Result
heap_update_row(Relation relation, ItemPointer place, HeapTuple tuple, CommandId command, bool wait,
				TM_FailureData *failure, LockTupleMode *mode, UpdatedIndexes *updated)
{
#if PG_VERSION_NUM >= 160000
	return heap_update(relation, place, tuple, command, InvalidSnapshot, wait, failure, mode, updated);
#else
	TM_Result result = heap_update(relation, place, tuple, command, InvalidSnapshot, wait, failure, mode);

	*updated = result == TM_Ok && !HeapTupleIsHeapOnly(tuple);
	return result;
#endif
}
/*
 * Whether an update may be asked not to wait. In all versions it answers TM_BeingModified then, as a deletion does, but
 * a server with assertions insists that nobody asks: there the row is locked first, if it is free.
 */
#ifdef USE_ASSERT_CHECKING
#define UPDATES_MAY_YIELD false
#else
#define UPDATES_MAY_YIELD true
#endif
#if PG_VERSION_NUM >= 180000
#define check_index_constraints(info, slot, estate, conflict, arbiters)                                                \
	ExecCheckIndexConstraints(info, slot, estate, conflict, &(ItemPointerData){.ip_posid = InvalidOffsetNumber},       \
							  arbiters)
#define index_scan_begin(heap, index, snapshot, keys) index_beginscan(heap, index, snapshot, NULL, keys, 0)
#else
#define check_index_constraints(info, slot, estate, conflict, arbiters)                                                \
	ExecCheckIndexConstraints(info, slot, estate, conflict, arbiters)
#define index_scan_begin(heap, index, snapshot, keys) index_beginscan(heap, index, snapshot, keys, 0)
#endif

/*
 * The pages on which an index has rows of a key, in their order, with the rows' places.
 *
 * 18 counts what index scans do, and takes the places of a page out of a bitmap by a function.
 */
#include "access/genam.h"
#include "access/htup_details.h"
#include "nodes/tidbitmap.h"
typedef struct BitmapPages
{
	TIDBitmap *bitmap;
#if PG_VERSION_NUM >= 180000
	TBMPrivateIterator *iterator;
#else
	TBMIterator *iterator;
#endif
} BitmapPages;

/* All of a page: work_mem did not hold its places. */
#define PAGE_OF_BITMAP_WHOLE (-1)

static inline void
bitmap_pages_begin(BitmapPages *pages, Relation index, Snapshot snapshot, ScanKey key)
{
	IndexScanDesc scan;

	pages->bitmap = tbm_create(work_mem * (Size) 1024, NULL);
#if PG_VERSION_NUM >= 180000
	scan = index_beginscan_bitmap(index, snapshot, NULL, 1);
#else
	scan = index_beginscan_bitmap(index, snapshot, 1);
#endif
	index_rescan(scan, key, 1, NULL, 0);
	(void) index_getbitmap(scan, pages->bitmap);
	index_endscan(scan);
#if PG_VERSION_NUM >= 180000
	pages->iterator = tbm_begin_private_iterate(pages->bitmap);
#else
	pages->iterator = tbm_begin_iterate(pages->bitmap);
#endif
}

/* Sets the next page and the places on it, at most MaxHeapTuplesPerPage; returns how many, 0 after the last page. */
static inline int
bitmap_pages_next(BitmapPages *pages, BlockNumber *block, OffsetNumber *places)
{
#if PG_VERSION_NUM >= 180000
	TBMIterateResult page;

	if (!tbm_private_iterate(pages->iterator, &page))
		return 0;
	*block = page.blockno;
	return page.lossy ? PAGE_OF_BITMAP_WHOLE : tbm_extract_page_tuple(&page, places, MaxHeapTuplesPerPage);
#else
	const TBMIterateResult *page = tbm_iterate(pages->iterator);

	if (page == NULL)
		return 0;
	*block = page->blockno;
	if (page->ntuples < 0)
		return PAGE_OF_BITMAP_WHOLE;
	memcpy(places, page->offsets, page->ntuples * sizeof(OffsetNumber));
	return page->ntuples;
#endif
}

static inline void
bitmap_pages_end(BitmapPages *pages)
{
#if PG_VERSION_NUM >= 180000
	tbm_end_private_iterate(pages->iterator);
#else
	tbm_end_iterate(pages->iterator);
#endif
	tbm_free(pages->bitmap);
}

/* 15 tells the triggers whether an update is half of a move between partitions. */
#if PG_VERSION_NUM >= 150000
#define after_update_triggers(estate, info, tid, slot, recheck)                                                        \
	ExecARUpdateTriggers(estate, info, NULL, NULL, tid, NULL, slot, recheck, NULL, false)
#else
#define after_update_triggers(estate, info, tid, slot, recheck)                                                        \
	ExecARUpdateTriggers(estate, info, tid, NULL, slot, recheck, NULL)
#endif

/* 18 asks whether a deferrable key will do. */
#if PG_VERSION_NUM >= 180000
#define primary_key_index(table) RelationGetPrimaryKeyIndex(table, false)
#else
#define primary_key_index(table) RelationGetPrimaryKeyIndex(table)
#endif

/* 17 asks whether a stronger lock will do. */
#if PG_VERSION_NUM >= 170000
#define lock_held(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define lock_held(tag, mode) LockHeldByMe(tag, mode)
#endif

#endif /* OMNICHANNEL_COMPAT_H */
