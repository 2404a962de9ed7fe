/*
 * lock.c
 *	  The locks of matching, always taken in this order: requests, customers, queues, agents, heads of lanes.
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
 *
 * One call takes its queues in one order for everybody, and waits; where it turns out to need further ones, it gives
 * back what it has and begins anew. A transaction that calls again may want more than it has while somebody else wants
 * what it has: further queues are tried for a moment, and what is not to be had then is left to the sweep. So nobody
 * locks up over queues.
 *
 * A request is kept apart by the lock of its row, of which a transaction can have any number. It comes first: whoever
 * has one may be waiting for what others have written about its customer, who wait for a queue themselves, as where
 * something is opened and routed in one transaction while a message is logged. Under the lock of a queue, and so by a
 * later call, requests are only tried: a freed agent passes over what somebody has, and looks again for a moment where
 * there is nothing else.
 *
 * An agent is locked by his row, both in the order of their ids where a request goes from one to the other. The head of
 * a lane, which is written where a request that goes back comes before it, is last, those of several lanes in the order
 * of these: no agent is waited for with a head in hand. The sweep, and whoever gives others their turn, only tries.
 *
 * To whom a request goes depends on who has the customer's others: who decides it in a queue that holds requests for
 * their owners has the lock of the customer. An arrival waits for it, before it locks queues. Who finds out under the
 * locks of queues whose request he comes upon, a freed agent, the sweep, who gives one back, only tries: what another
 * decides about at this moment waits, for the sweep at the latest.
 *
 * A request that has just come is not locked by route(): it is changed after its agent, if it is still as it was read
 * and nobody else has it, and the agent is let go otherwise. Those who route the newest requests at once meet on a page
 * or two, and most of their time went into waiting for it (test/bench/route.sh).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "routing/route.h"

/* routing_arguments raises 22023 where an argument is NULL: whoever passes none would take no answer for one. */
void
routing_arguments(FunctionCallInfo fcinfo, const char *function)
{
	for (int i = 0; i < PG_NARGS(); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument %d of %s is NULL", i + 1, function),
					 errhint("Give all of them, the id of a request as open_request() returned it.")));
}

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

/* Takes a queue's lock if it is to be had at once, and returns whether. */
bool
queue_lock_try(const RoutingConfig *config, int queue, QueueLock mode)
{
	return take("waiting", queue_key(config, queue), mode, false);
}

/* Returns an empty set of locks. */
QueueLocks *
queue_locks(const RoutingConfig *config)
{
	QueueLocks *locks = palloc0(sizeof(QueueLocks));

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
	for (int i = 0; i < config->agents[agent].queue_count; i++)
		queue_locks_add(locks, config->agents[agent].queues[i], QUEUE_FREE);
	locks->agent_id = config->agents[agent].agent_id;
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
config_under_locks(uint32 queues_hash)
{
	RoutingConfig *config = routing_config();

	if (config->queues_hash != queues_hash)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE), errmsg("the queues were changed meanwhile"),
						errhint("Try again.")));
	return config;
}

/* For so many transactions a session that has needed more of a queue than it had at first takes all of it at once. */
#define FOREWARNED 64

/* What the transactions of this session ask of queues. */
static struct
{
	LocalTransactionId lxid; /* the one that asked last */
	LOCKMASK asked;          /* the modes that its calls have asked for */
	int forewarned;          /* transactions for which all is taken at once */
} session;

/*
 * Notes that a call asks for these locks; returns whether it is not the first one of its transaction.
 *
 * Whoever routes and then frees an agent, or the other way round, in one transaction does so in the next ones too.
 */
static bool
is_later_call(const RoutingConfig *config, const QueueLocks *locks)
{
	bool later = session.lxid == MY_LXID;
	LOCKMASK before = later ? session.asked : 0;
	LOCKMASK asked = 0;

	if (!later && session.forewarned > 0)
		session.forewarned--;
	for (int i = 0; i < config->queue_count; i++)
		if (locks->modes[i] != 0)
			asked |= LOCKBIT_ON(locks->modes[i]);
	if (before != 0 && (asked & ~before) != 0)
		session.forewarned = FOREWARNED;
	session.lxid = MY_LXID;
	session.asked = before | asked;
	return later;
}

/* Makes whatever this transaction calls from now on a later call, of which nothing is to be learned. */
static void
called_before(void)
{
	session.lxid = MY_LXID;
	session.asked = LOCKBIT_ON(QUEUE_ARRIVE) | LOCKBIT_ON(QUEUE_FREE) | LOCKBIT_ON(QUEUE_BOTH);
}

/* For so long in all a later call of a transaction tries to take further queues, or a request. */
#define LATER_MSECS 20

/* queues_were_asked returns whether the transaction has asked for queues before this call, and may hold some. */
bool
queues_were_asked(void)
{
	return session.lxid == MY_LXID;
}

#define REQUEST_SQL "SELECT FROM omnichannel.request WHERE request_id = $1 AND customer_id = $2"

static KeptPlan request_select = {.sql = REQUEST_SQL, .nargs = 2, .argtypes = {INT8OID, INT8OID}};

/* Whether to wait for whoever has the row. */
static KeptPlan request_hold_plans[2] = {
	{.sql = REQUEST_SQL " FOR NO KEY UPDATE SKIP LOCKED", .nargs = 2, .argtypes = {INT8OID, INT8OID}},
	{.sql = REQUEST_SQL " FOR NO KEY UPDATE", .nargs = 2, .argtypes = {INT8OID, INT8OID}},
};

/*
 * request_hold keeps apart whoever changes where a request stands, by the lock of its row; returns whether it is held.
 *
 * It is not where there is no such row, or, without wait, where somebody else has it. A later call of a transaction is
 * never seen waiting: it raises 40001 where somebody else has it for longer than a moment. Needs an SPI scope.
 */
bool
request_hold(int64 request_id, int64 customer_id, bool wait)
{
	Datum values[2] = {Int64GetDatum(request_id), Int64GetDatum(customer_id)};
	bool later = wait && queues_were_asked();
	bool held = kept_plan_run(&request_hold_plans[wait && !later], values, NULL, false, 1) == 1;

	for (int left = LATER_MSECS; later && !held; left--)
	{
		CHECK_FOR_INTERRUPTS();
		if (kept_plan_run(&request_select, values, NULL, false, 1) == 0)
			return false;
		if (left == 0)
			ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							errmsg("request " INT64_FORMAT " is held by another transaction", request_id),
							errhint("Try again, and call one function of the queues a transaction where you can.")));
		pg_usleep(1000);
		held = kept_plan_run(&request_hold_plans[false], values, NULL, false, 1) == 1;
	}
	return held;
}

/* A queue's lock that is waited for. */
typedef struct LockWait
{
	uint32 key;
	LOCKMODE mode;
	int look; /* it looks for deadlocks after so many milliseconds, if not before */
	int msecs;
} LockWait;

/*
 * Takes a queue's lock, waiting for so long at most, for subtransaction_try(). Whoever tries restores the settings.
 *
 * The time may run out just as the lock is had: that is to end here, not at whatever comes next.
 */
static void
wait_for_lock(void *argument)
{
	const LockWait *wait = argument;

	LockTimeout = LockTimeout > 0 ? Min(LockTimeout, wait->msecs) : wait->msecs;
	DeadlockTimeout = Min(DeadlockTimeout, wait->look);
	(void) take("waiting", wait->key, wait->mode, true);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Makes the caller's resource owner that of a lock which a subtransaction has left to the transaction, as of those that
 * were had at once: LockRelease() asks for the owner. It is held all the while.
 */
static void
hand_over(uint32 key, LOCKMODE mode)
{
	ResourceOwner owner = CurrentResourceOwner;
	LOCKTAG tag = tag_of("waiting", key);

	(void) take("waiting", key, mode, false);
	CurrentResourceOwner = CurTransactionResourceOwner;
	(void) LockRelease(&tag, mode, false);
	CurrentResourceOwner = owner;
}

/*
 * Takes a queue's lock, waiting until that time at most, and looking for deadlocks after so many milliseconds if not
 * before; returns whether it was to be had.
 */
static bool
take_until(uint32 key, LOCKMODE mode, TimestampTz end, int look)
{
	LockWait wait = {key, mode, look};
	int lock_setting = LockTimeout;
	int deadlock_setting = DeadlockTimeout;
	ErrorData *error;

	if (take("waiting", key, mode, false))
		return true;
	wait.msecs = (int) TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
	if (wait.msecs <= 0)
		return false;
	error = subtransaction_try(wait_for_lock, &wait);
	LockTimeout = lock_setting;
	DeadlockTimeout = deadlock_setting;
	if (error == NULL)
	{
		hand_over(key, mode);
		return true;
	}
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE && error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
		ReThrowError(error);
	FreeErrorData(error);
	return false;
}

/* Takes a queue that is not to be had out of the set. */
static void
pass_over(QueueLocks *locks, int queue)
{
	locks->modes[queue] = 0;
	locks->stuck[queue] = true;
	locks->partial = true;
}

/* Takes a queue's lock, trying for so many milliseconds, which are counted down; returns whether it was to be had. */
static bool
take_trying(const KeyedLock *lock, int *left)
{
	while (!take("waiting", lock->key, lock->mode, false))
	{
		CHECK_FOR_INTERRUPTS();
		if ((*left)-- <= 0)
			return false;
		pg_usleep(1000);
	}
	return true;
}

/* After so long who waits with something in his hands that others may want looks for deadlocks, before they do. */
#define LOOK_MSECS 10

/*
 * queue_locks_try does what queue_locks_take() does, but waits until that time at most: queues that somebody holds for
 * longer are taken out of the set and marked as stuck.
 *
 * Whatever its transaction calls afterwards is a later call. One itself, as the second try of a sweep and whoever
 * serves several agents, is never seen waiting: it holds queues that come after those which it still wants, and whoever
 * waits for them, and happens to look for deadlocks at that moment, would be the victim of one that ends by itself.
 */
RoutingConfig *
queue_locks_try(RoutingConfig *config, QueueLocks *locks, TimestampTz end)
{
	int count;
	KeyedLock *keyed = in_order(config, locks, &count);
	uint32 queues_hash = config->queues_hash;
	bool later = session.lxid == MY_LXID;
	int left = (int) TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
	int look = TransactionIdIsValid(GetTopTransactionIdIfAny()) ? LOOK_MSECS : DeadlockTimeout;

	locks->later = later;
	called_before();
	for (int i = 0; i < count; i++)
	{
		if (!(later ? take_trying(&keyed[i], &left) : take_until(keyed[i].key, keyed[i].mode, end, look)))
			pass_over(locks, keyed[i].queue);
	}
	return config_under_locks(queues_hash);
}

/*
 * queue_locks_wait gives back what queue_locks_try() has just taken in the first call of a transaction, and waits for
 * these queues alone instead, all of each, for so many milliseconds at most. The locks are then those of them that were
 * to be had; the others are stuck.
 *
 * Who waits here keeps no other queue from anybody. What its transaction has written before, as other rooms in tick(),
 * somebody may want who has one of these queues: it looks for that before he does, and goes; and then it waits no
 * longer than those who want it later wait before they look.
 */
RoutingConfig *
queue_locks_wait(RoutingConfig *config, QueueLocks *locks, const QueueLocks *wanted, int msecs)
{
	int count;
	KeyedLock *keyed = in_order(config, locks, &count);
	uint32 queues_hash = config->queues_hash;
	TimestampTz end;

	for (int i = 0; i < count; i++)
	{
		LOCKTAG tag = tag_of("waiting", keyed[i].key);

		(void) LockRelease(&tag, keyed[i].mode, false);
		locks->modes[keyed[i].queue] = 0;
	}
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		msecs = Min(msecs, DeadlockTimeout);
	end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), msecs);
	keyed = in_order(config, wanted, &count);
	for (int i = 0; i < count; i++)
	{
		bool taken = take_until(keyed[i].key, QUEUE_BOTH, end, LOOK_MSECS);

		locks->modes[keyed[i].queue] = taken ? QUEUE_BOTH : 0;
		locks->stuck[keyed[i].queue] = !taken;
	}
	return config_under_locks(queues_hash);
}

/*
 * Takes the locks as queue_locks_try() does, but is never seen waiting: whoever waits for a queue that this transaction
 * holds is no victim then, because nothing goes round in a circle.
 */
static RoutingConfig *
try_later(RoutingConfig *config, QueueLocks *locks)
{
	int count;
	KeyedLock *keyed = in_order(config, locks, &count);
	uint32 queues_hash = config->queues_hash;
	int left = LATER_MSECS;

	for (int i = 0; i < count; i++)
	{
		if (!take_trying(&keyed[i], &left))
			pass_over(locks, keyed[i].queue);
	}
	return config_under_locks(queues_hash);
}

/*
 * queues_lock takes the locks of the queues with these codes, in the order of all who take several.
 *
 * A later call of a transaction is never seen waiting either: it raises 40001 where somebody else holds one of them.
 * Whatever its transaction calls afterwards is a later call.
 */
void
queues_lock(char **queues, int count, QueueLock mode)
{
	KeyedLock *keyed = palloc(sizeof(KeyedLock) * (count + 1));
	bool later = session.lxid == MY_LXID;
	int left = LATER_MSECS;

	for (int i = 0; i < count; i++)
		keyed[i] = (KeyedLock){.key = code_key(queues[i]), .mode = mode, .queue = i};
	qsort(keyed, count, sizeof(KeyedLock), compare_keys);
	for (int i = 0; i < count; i++)
	{
		if (!later)
			(void) take("waiting", keyed[i].key, mode, true);
		else if (!take_trying(&keyed[i], &left))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("queue \"%s\" is held by another transaction", queues[keyed[i].queue]),
					 errhint("Try again, and change several queues by one statement, or each in a transaction of its "
							 "own.")));
	}
	called_before();
	pfree(keyed);
}

/* Adds the queues that the agent of these locks serves by now; returns whether any was not among them as his. */
static bool
add_joined(const RoutingConfig *config, QueueLocks *locks)
{
	int agent = locks->agent_id == 0 ? -1 : config_agent(config, locks->agent_id);
	bool joined = false;

	if (agent < 0)
		return false;
	for (int queue = 0; queue < config->queue_count && !joined; queue++)
		joined = (locks->modes[queue] == 0 || locks->modes[queue] == QUEUE_ARRIVE) && !locks->stuck[queue] &&
				 config_member(config, queue, agent) != NULL;
	if (joined)
		queue_locks_add_agent(config, locks, agent);
	return joined;
}

/* Returns the mode in which a queue is locked by the first call of a transaction that asks for this one. */
static LOCKMODE
first_mode(LOCKMODE mode)
{
	return session.forewarned > 0 ? QUEUE_BOTH : mode;
}

/* Gives back what the first call of a transaction has just taken. */
static void
give_back(const KeyedLock *keyed, int count)
{
	for (int i = 0; i < count; i++)
	{
		LOCKTAG tag = tag_of("waiting", keyed[i].key);

		(void) LockRelease(&tag, first_mode(keyed[i].mode), false);
	}
}

/* So many customers one transaction locks: a statement that routes a whole backlog must not fill the table of locks. */
#define CUSTOMERS_MAX 256

/* How many this one has locked. */
static struct
{
	LocalTransactionId lxid;
	int count;
} customers;

/* Takes the lock of a customer; returns whether the caller may go on. */
static bool
take_customer(int64 customer_id, bool wait)
{
	LOCKTAG tag = tag_of("customer", (uint32) hash_bytes((const unsigned char *) &customer_id, sizeof(customer_id)));
	LockAcquireResult result;

	if (customers.lxid != MY_LXID)
		customers.count = 0;
	customers.lxid = MY_LXID;
	if (customers.count >= CUSTOMERS_MAX)
		return true;
	result = LockAcquire(&tag, ExclusiveLock, false, !wait);
	customers.count += result == LOCKACQUIRE_OK;
	return result != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * customer_lock keeps the requests of a customer that arrive at the same moment apart, so that the later one sees whose
 * the earlier one is; returns whether the caller may go on. It is taken before the locks of queues.
 *
 * A later call of a transaction, which holds what others may wait for, is never seen waiting, as with queues.
 */
bool
customer_lock(int64 customer_id)
{
	bool later = session.lxid == MY_LXID;

	for (int left = LATER_MSECS; !take_customer(customer_id, !later); left--)
	{
		CHECK_FOR_INTERRUPTS();
		if (left == 0)
			return false;
		pg_usleep(1000);
	}
	return true;
}

/*
 * customer_lock_try does the same without waiting: for whoever comes upon a customer's request with other locks in his
 * hands. Whose the customer's requests are is to be read after it. Who only says what becomes of one, as by accepting
 * it or by naming a colleague, decides by nothing that others could be changing, and needs it not.
 */
bool
customer_lock_try(int64 customer_id)
{
	return take_customer(customer_id, false);
}

/* So often an agent's locks are taken anew because he serves further queues by then. */
#define JOINED_MAX 8

/*
 * queue_locks_take takes the locks and returns the configuration as it is then, with those of the queues that the agent
 * serves by then. Where he was given one while others were waited for, all are given back and taken anew, in their
 * order; who is given queues all the time is served from those that he had, and the sweep sees to the others.
 *
 * A transaction that has called it before may find some of them stuck, as queue_locks_try() leaves them. Raises 40001
 * where queues came or went meanwhile.
 */
RoutingConfig *
queue_locks_take(RoutingConfig *config, QueueLocks *locks)
{
	uint32 queues_hash = config->queues_hash;
	bool later = is_later_call(config, locks);

	locks->later = later;
	for (int left = JOINED_MAX;; left--)
	{
		int count;
		KeyedLock *keyed = in_order(config, locks, &count);

		for (int i = 0; i < count && !later; i++)
			(void) take("waiting", keyed[i].key, first_mode(keyed[i].mode), true);
		config = later ? try_later(config, locks) : config_under_locks(queues_hash);
		if (left == 0 || !add_joined(config, locks))
			return config;
		if (!later)
			give_back(keyed, count);
	}
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
