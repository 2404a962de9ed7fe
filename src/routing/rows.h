/*
 * rows.h
 *	  The rows of what is going on, read and written without SQL where nothing asks for SQL; see rows.c.
 */
#ifndef OMNICHANNEL_ROUTING_ROWS_H
#define OMNICHANNEL_ROUTING_ROWS_H

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/tableam.h"
#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "utils/rel.h"

#include "omnichannel.h"
#include "routing/config.h"

typedef enum RowsTable
{
	ROWS_REQUEST,
	ROWS_CUSTOMER,
	ROWS_WAITING,
	ROWS_ASSIGNMENT,
	ROWS_KEPT_PLACE,
	ROWS_REFUSAL,
	ROWS_RELATIONSHIP,
	ROWS_AGENT_STATE,
	ROWS_LANE_HEAD,
	ROWS_TABLES
} RowsTable;

/* What rows are looked up by. */
typedef enum RowsOrder
{
	ROWS_BY_KEY,           /* the first column of the primary key */
	ROWS_OPEN_BY_CUSTOMER, /* open requests by customer, opened_at and request_id */
	ROWS_BY_MERGED_INTO,   /* customers by the one they turned out to be */
	ROWS_WAITING_ORDER,    /* waiting requests by lane and in the order in which they are served */
	ROWS_ORDERS
} RowsOrder;

/* The columns of request that are read or written. */
enum
{
	REQUEST_REQUEST_ID = 1,
	REQUEST_CUSTOMER_ID = 2,
	REQUEST_STATE = 4,
	REQUEST_CHANNEL = 5,
	REQUEST_CURRENT_CHANNEL = 6,
	REQUEST_QUEUE = 7,
	REQUEST_PRIORITY = 8,
	REQUEST_REQUIRES = 9,
	REQUEST_PREFERS = 10,
	REQUEST_AGENT_ID = 11,
	REQUEST_VERSION = 14,
	REQUEST_OPENED_AT = 15,
	REQUEST_STATE_SINCE = 16,
	REQUEST_CLOSED_AT = 17
};

#define CUSTOMER_MERGED_INTO 7

/* Rows as they lie in the heap: none of these columns is ever NULL, and all before them are of fixed width. */
typedef struct WaitingRow
{
	int64 request_id;
	int64 customer_id;
	int64 lane_id;
	int64 rank;
	TimestampTz due_at;
	TimestampTz entered_at;
	TimestampTz queued_at;
	int32 priority;
} WaitingRow;

typedef struct AssignmentRow
{
	int64 request_id;
	int64 customer_id;
	int64 agent_id;
	int64 lane_id;
	int32 cost;
	int32 priority;
	TimestampTz due_at;
	TimestampTz entered_at;
	TimestampTz queued_at;
	TimestampTz offered_at;
	TimestampTz expires_at;
} AssignmentRow;

#define ASSIGNMENT_EXPIRES_AT 11
#define ASSIGNMENT_ACCEPTED_AT 12
#define ASSIGNMENT_OWNER_ID 13

typedef struct KeptPlaceRow
{
	int64 request_id;
	TimestampTz entered_at;
	TimestampTz until;
	TimestampTz queued_at;
} KeptPlaceRow;

typedef struct RefusalRow
{
	int64 request_id;
	int64 agent_id;
	TimestampTz until;
} RefusalRow;

typedef struct RelationshipRow
{
	int64 customer_id;
	int64 agent_id;
	int64 contacts;
	double strength;
	TimestampTz aged_at;
} RelationshipRow;

typedef struct AgentStateRow
{
	int64 agent_id;
	TimestampTz idle_since;
	TimestampTz busy_until;
	int32 used;
	char state[FLEXIBLE_ARRAY_MEMBER]; /* text */
} AgentStateRow;

/* Where a request stands in its lane. */
typedef struct LanePlace
{
	int64 rank;
	TimestampTz due_at;
	TimestampTz entered_at;
	int64 request_id;
} LanePlace;

typedef struct LaneHeadRow
{
	int64 lane_id;
	LanePlace place;
} LaneHeadRow;

/* A reading of rows by an index. */
typedef struct RowsScan RowsScan;

typedef struct Rows
{
	Relation tables[ROWS_TABLES];
	BlockNumber blocks[ROWS_TABLES];    /* so many pages they have at least */
	TupleTableSlot *slots[ROWS_TABLES]; /* the row found last */
	Relation orders[ROWS_TABLES][ROWS_ORDERS];
	Relation *indexes[ROWS_TABLES]; /* of tables that rows are inserted into */
	int index_counts[ROWS_TABLES];
	Snapshot snapshot; /* the active one */
	bool reading;      /* nothing is written */
	struct
	{
		int64 key;
		ItemPointerData place; /* invalid where nothing was found yet */
	} found[ROWS_TABLES];      /* the key looked for last, and where its row was */
	HeapTuple kept;            /* a row that is not read again, and is found[kept_table] then; or NULL */
	RowsTable kept_table;
} Rows;

#define ROWS_BIT(table) (1 << (table))

/* Where a row is looked for, and by whom it was put there, if that is known. */
typedef struct RowsTrail
{
	RowPlace place;
	TransactionId updated_by;
} RowsTrail;

/* rows_open.c */
extern Rows *rows_open(int tables);
extern Rows *rows_open_reading(int tables);
extern bool rows_open_more(Rows *rows, int tables);
extern bool rows_may_insert(Rows *rows, RowsTable table);
extern void rows_done(Rows *rows, RowsTable table);
extern void rows_close(Rows *rows);
extern void rows_refresh(Rows *rows);
extern Relation rows_order(Rows *rows, RowsTable table, RowsOrder order);

/* rows.c */
extern bool rows_none(Rows *rows, RowsTable table);
extern bool rows_find(Rows *rows, RowsTable table, int64 key);
extern void rows_keep(Rows *rows, RowsTable table);
extern bool rows_kept_free(const Rows *rows);
extern bool rows_is_changing(HeapTuple tuple);
extern bool rows_is_taken(const Rows *rows, RowsTable table);
extern bool rows_on_page(Relation relation, Buffer buffer, Snapshot snapshot, int64 key, RowsTrail *trail,
						 HeapTuple tuple);
extern void rows_moved(RowPlace *place, HeapTuple changed);
extern HeapTuple rows_trace(Relation relation, Snapshot snapshot, BlockNumber blocks, int64 key, RowPlace *place);
extern HeapTuple rows_follow(Rows *rows, RowsTable table, int64 key, RowPlace *place);
extern const void *rows_data(Rows *rows, RowsTable table);

/* rows_scan.c */
extern RowsScan *rows_scan(Rows *rows, RowsTable table, RowsOrder order, int64 key);
extern RowsScan *rows_scan_lane(Rows *rows, int64 lane_id, const LanePlace *from, bool after, const LanePlace *until,
								RowsLeaf *leaf);
extern bool rows_next(Rows *rows, RowsTable table, RowsScan *scan, ScanDirection direction);
extern bool rows_next_passing(Rows *rows, RowsTable table, RowsScan *scan, int *passed);
extern bool rows_next_other(Rows *rows, RowsTable table, RowsScan *scan, ScanDirection direction, int64 key);
extern bool rows_next_of(Rows *rows, RowsTable table, RowsScan *scan, bool (*wanted)(void *arg, int64 second),
						 void *arg);
extern void rows_end(RowsScan *scan);
extern bool rows_locate(Rows *rows, RowsTable table, int64 key, RowPlace *place);

/* rows_write.c */
extern void rows_insert(Rows *rows, RowsTable table, const Datum *values, const bool *nulls);
extern bool rows_hold(Rows *rows, RowsTable table);
extern bool rows_lock(Rows *rows, RowsTable table, bool wait);
extern TM_Result rows_update(Rows *rows, RowsTable table, ItemPointer place, HeapTuple changed, bool wait);
extern TM_Result rows_delete(Rows *rows, RowsTable table, ItemPointer place, bool wait);

#endif /* OMNICHANNEL_ROUTING_ROWS_H */
