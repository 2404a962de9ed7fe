/*
 * lock.c
 *	  The locks of matching, always taken in this order: queues, requests, agents, rows.
 *
 * A queue's lock is one advisory transaction lock whose mode says what its holder does: an arrival reads the agents and
 * may leave a waiting request, a freed agent reads the waiting requests and may leave himself idle. If both ran at
 * once, neither would see what the other left. RowExclusive and Share are the two modes of PostgreSQL's lock table that
 * each agree with themselves and exclude each other; ShareRowExclusive excludes both and itself.
 *
 * The lock must stand before the first read: hence READ COMMITTED only, where the next statement sees what was
 * committed while this one waited.
 *
 * They are advisory locks of a class that pg_advisory_lock() does not reach: who has no rights here cannot hold them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "routing/route.h"

/*
 * routing_writes refuses to match where it cannot be right: 55000 above READ COMMITTED, 25006 where nothing can be
 * written.
 */
void
routing_writes(const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("%s cannot run at isolation level %s", function,
							   XactIsoLevel == XACT_SERIALIZABLE ? "SERIALIZABLE" : "REPEATABLE READ"),
						errhint("Call it in a READ COMMITTED transaction: others' offers must be seen.")));
}

/* Returns the tag of an advisory lock in the class of a table. */
static LOCKTAG
tag_of(const char *table, uint32 key)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, omni_table(table), key, OMNI_LOCK_CLASS);
	return tag;
}

/* Takes an advisory transaction lock in the class of a table; returns whether it was to be had. */
static bool
take(const char *table, uint32 key, LOCKMODE mode, bool wait)
{
	LOCKTAG tag = tag_of(table, key);

	return LockAcquire(&tag, mode, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* Returns the key of the lock of the queue with that code. */
static uint32
code_key(const char *code)
{
	return hash_bytes((const unsigned char *) code, (int) strlen(code));
}

/* Returns the key of a queue's lock. */
static uint32
queue_key(const RoutingConfig *config, int queue)
{
	return code_key(config->queues[queue].queue);
}

/* Takes the lock of the queue with that code. */
void
queue_lock(const char *queue, QueueLock mode)
{
	(void) take("waiting", code_key(queue), mode, true);
}

/* Takes a queue's lock if it is to be had at once, and returns whether. */
bool
queue_lock_try(const RoutingConfig *config, int queue, QueueLock mode)
{
	return take("waiting", queue_key(config, queue), mode, false);
}

/* Keeps apart whoever changes where this request stands. */
void
request_lock(int64 request_id)
{
	(void) take("assignment", (uint32) request_id, ExclusiveLock, true);
}

/* Does that if it can be done at once, and returns whether. */
bool
request_lock_try(int64 request_id)
{
	return take("assignment", (uint32) request_id, ExclusiveLock, false);
}

/* Returns an empty set of locks. */
QueueLocks *
queue_locks(const RoutingConfig *config)
{
	QueueLocks *locks = palloc(sizeof(QueueLocks));

	locks->modes = palloc0(sizeof(LOCKMODE) * (config->queue_count + 1));
	locks->stuck = palloc0(sizeof(bool) * (config->queue_count + 1));
	return locks;
}

/* Adds a queue to the locks to take. */
void
queue_locks_add(QueueLocks *locks, int queue, QueueLock mode)
{
	if (locks->modes[queue] == 0)
		locks->modes[queue] = mode;
	else if (locks->modes[queue] != (LOCKMODE) mode)
		locks->modes[queue] = QUEUE_BOTH;
}

/* Adds the queues that an agent serves, who is about to be free for their requests. */
void
queue_locks_add_agent(const RoutingConfig *config, QueueLocks *locks, int agent)
{
	for (int queue = 0; queue < config->queue_count; queue++)
	{
		if (config_member(config, queue, agent) != NULL)
			queue_locks_add(locks, queue, QUEUE_FREE);
	}
}

typedef struct KeyedLock
{
	uint32 key;
	LOCKMODE mode;
	int queue;
} KeyedLock;

static int
compare_keys(const void *a, const void *b)
{
	uint32 x = ((const KeyedLock *) a)->key;
	uint32 y = ((const KeyedLock *) b)->key;

	return x < y ? -1 : x > y;
}

/* Returns the locks that are asked for, in one order for everybody. */
static KeyedLock *
in_order(const RoutingConfig *config, const QueueLocks *locks, int *count)
{
	KeyedLock *keyed = palloc(sizeof(KeyedLock) * (config->queue_count + 1));

	*count = 0;
	for (int queue = 0; queue < config->queue_count; queue++)
	{
		if (locks->modes[queue] == 0)
			continue;
		keyed[*count].key = queue_key(config, queue);
		keyed[*count].mode = locks->modes[queue];
		keyed[(*count)++].queue = queue;
	}
	qsort(keyed, *count, sizeof(KeyedLock), compare_keys);
	return keyed;
}

/* Returns the configuration under the locks; raises 40001 where they are those of other queues by now. */
static RoutingConfig *
config_under_locks(uint64 generation, int queue_count)
{
	RoutingConfig *config = routing_config();

	if (config->generation != generation && config->queue_count != queue_count)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE), errmsg("the queues were changed meanwhile"),
						errhint("Try again.")));
	return config;
}

/*
 * Returns the mode in which to take a queue's lock that is to be held in this one.
 *
 * Two transactions that share a lock and then both need more of it wait for each other. Whoever routes and then frees
 * an agent, or the other way round, in one transaction does so in the next ones too: from the second time on such a
 * session takes at once what it will need.
 */
static LOCKMODE
mode_in_session(uint32 key, LOCKMODE mode)
{
	static bool needs_both = false;
	LOCKTAG tag = tag_of("waiting", key);

	if (!needs_both && (lock_held(&tag, QUEUE_ARRIVE) || lock_held(&tag, QUEUE_FREE)) && !lock_held(&tag, mode) &&
		!lock_held(&tag, QUEUE_BOTH))
		needs_both = true;
	return needs_both ? QUEUE_BOTH : mode;
}

/*
 * queue_locks_take takes the locks and returns the configuration as it is then.
 *
 * Raises 40001 where queues came or went meanwhile.
 */
RoutingConfig *
queue_locks_take(RoutingConfig *config, QueueLocks *locks)
{
	int count;
	KeyedLock *keyed = in_order(config, locks, &count);
	uint64 generation = config->generation;
	int queue_count = config->queue_count;

	for (int i = 0; i < count; i++)
		(void) take("waiting", keyed[i].key, mode_in_session(keyed[i].key, keyed[i].mode), true);
	return config_under_locks(generation, queue_count);
}

/* A queue's lock that is waited for. */
typedef struct LockWait
{
	uint32 key;
	LOCKMODE mode;
	int msecs;
} LockWait;

/* Takes a queue's lock, waiting for so long at most, for subtransaction_try(). */
static void
wait_for_lock(void *argument)
{
	const LockWait *wait = argument;

	LockTimeout = LockTimeout > 0 ? Min(LockTimeout, wait->msecs) : wait->msecs;
	(void) take("waiting", wait->key, wait->mode, true);
}

/* Takes a queue's lock, waiting until that time at most; returns whether it was to be had. */
static bool
take_until(uint32 key, LOCKMODE mode, TimestampTz end)
{
	LockWait wait = {key, mode};
	int setting = LockTimeout;
	ErrorData *error;

	if (take("waiting", key, mode, false))
		return true;
	wait.msecs = (int) TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
	if (wait.msecs <= 0)
		return false;
	error = subtransaction_try(wait_for_lock, &wait);
	LockTimeout = setting;
	if (error == NULL)
		return true;
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE && error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
		ReThrowError(error);
	FreeErrorData(error);
	return false;
}

/*
 * queue_locks_try does what queue_locks_take() does, but waits until that time at most: queues that somebody holds for
 * longer are taken out of the set and marked as stuck.
 */
RoutingConfig *
queue_locks_try(RoutingConfig *config, QueueLocks *locks, TimestampTz end)
{
	int count;
	KeyedLock *keyed = in_order(config, locks, &count);
	uint64 generation = config->generation;
	int queue_count = config->queue_count;

	for (int i = 0; i < count; i++)
	{
		if (take_until(keyed[i].key, keyed[i].mode, end))
			continue;
		locks->modes[keyed[i].queue] = 0;
		locks->stuck[keyed[i].queue] = true;
	}
	return config_under_locks(generation, queue_count);
}

/* Returns the index of an agent; raises 23503 for an unknown one. */
int
agent_argument(const RoutingConfig *config, int64 agent_id)
{
	int agent = config_agent(config, agent_id);

	if (agent < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION), errmsg("agent " INT64_FORMAT " does not exist", agent_id),
				 errhint("Insert it into omnichannel.agent.")));
	return agent;
}
