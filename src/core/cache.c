/*
 * cache.c
 *	  Configuration, cached per backend and never stale.
 *
 * Each cache has a proxy: an empty table that nobody reads. Row triggers (ENABLE ALWAYS, so that they fire in a logical
 * replica's apply worker too) and a TRUNCATE trigger on the configuration tables queue a relcache invalidation of the
 * proxy. PostgreSQL does the rest: it delivers the message to this backend when the command ends and when a
 * (sub)transaction rolls back, to the others at commit and, through WAL, to the sessions of a hot standby. The
 * relcache callback only sets flags.
 *
 * A change is visible to new snapshots a little before its message is sent. What several caches hold together is of one
 * moment only once all who were just then ending are done: they hold a lock of the whole library, at which whoever has
 * read anything looks afterwards. On a standby the record being replayed says the same.
 *
 * A reader accepts pending messages first. A rebuild then takes a new snapshot, so that an entry can never be built of
 * rows older than the last message consumed; a message that arrives while it runs leaves the cache marked, and what was
 * built serves that one call. Under REPEATABLE READ and SERIALIZABLE the transaction's own snapshot is the truth, and
 * what was read under it serves that transaction only. Under REPEATABLE READ it serves others too, and they it, where
 * the snapshot shows what any snapshot of now would: a change that one shows and another does not was either told to
 * this backend since, or its writer still holds the lock on the proxy that the triggers take, as messages are sent
 * before locks are released. SERIALIZABLE reads for itself in any case, for its reads to count.
 *
 * Where the triggers are gone or do not fire ALWAYS, as after ENABLE TRIGGER ALL, or where the tables are spread over
 * other nodes and cannot have them, what is read serves one call.
 *
 * The rows are read with the rights of their owner, because the cache serves every role of the session; each reader's
 * SELECT right is checked instead. Where row-level security applies to a reader, the rows are read for each call with
 * that reader's own rights and are not kept.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/twophase.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "omnichannel.h"
#include "core/leaf.h"

SQL_FUNCTION(omnichannel_invalidate_cache);
SQL_FUNCTION(omnichannel_cache_status);

enum
{
	CACHE_NEEDS_REBUILD = 0,
	CACHE_REBUILDING,
	CACHE_VALID
};

static ConfigCache *caches = NULL;

static void register_callbacks(void);

/* Counts changes that were told. */
static uint64 moves = 0;

/* Whether rows were read since all whose changes they may show were known to have told of them. */
static bool unsettled = false;

/* The longest that is waited for those who have not, in microseconds: one may be stopped, and a standby wait for us. */
#define LONGEST_WAIT 1000000
#define LONGEST_STANDBY_WAIT 50000

/* Calls that read what caches hold, each within the one before; and what they may still read. */
static int holders = 0;
static MemoryContext held = NULL;

/* Marks the caches that a relation concerns, all of them for InvalidOid. Sets flags only: it runs anywhere. */
static void
cache_relation_changed(Datum arg, Oid relation)
{
	for (ConfigCache *cache = caches; cache != NULL; cache = cache->next)
	{
		bool concerned = !OidIsValid(relation) || relation == cache->proxy;

		for (int i = 0; !concerned && i < CONFIG_CACHE_TABLES && cache->tables[i] != NULL; i++)
			concerned = relation == cache->table_oids[i];

		if (concerned)
		{
			cache->state = CACHE_NEEDS_REBUILD;
			moves++;
			cache->told++;
			cache->resolved = false;
			cache->reader = InvalidOid;
		}
	}
}

/* Forgets whose right was checked: roles or memberships have changed. */
static void
cache_roles_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	for (ConfigCache *cache = caches; cache != NULL; cache = cache->next)
		cache->reader = InvalidOid;
}

/* Frees what was kept for calls that are over. */
static void
forget_held(void)
{
	MemoryContext context = held;

	held = NULL;
	if (context != NULL)
		MemoryContextDelete(context);
}

/* Forgets calls that ended in an error, as none outlasts the transaction, and notes what had been told until then. */
static void
transaction_ended(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
	{
		holders = 0;
		forget_held();
		for (ConfigCache *cache = caches; cache != NULL; cache = cache->next)
			cache->told_before = cache->told;
	}
}

/*
 * config_caches_moved accepts pending messages and returns a number, another one once a change of any cache was told;
 * see config_caches_stand().
 */
uint64
config_caches_moved(void)
{
	AcceptInvalidationMessages();
	return moves;
}

/* Names the lock that whoever changes any configuration holds until that is told. */
static void
writers_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, RelationRelationId, InvalidOid, 1);
}

/* Returns how many others hold that lock. */
static int
writers_count(const LOCKTAG *tag)
{
	return LockWaiterCount(tag) - (lock_held_by_me(tag, RowExclusiveLock) ? 1 : 0);
}

/* Returns whether a transaction that held a lock is under way: its backend is in it, or it is prepared. */
static bool
under_way(VirtualTransactionId id)
{
	PGPROC *process = vxid_process(id);
	TransactionId prepared;
	bool more = false;

	if (process != NULL && process_lxid(process) == id.localTransactionId)
		return true;
	prepared = TwoPhaseGetXidByVirtualXID(id, &more);
	return TransactionIdIsValid(prepared) && TransactionIdIsInProgress(prepared);
}

/*
 * Returns whether somebody's change can be seen that is not told yet: one who holds the lock, but is in no transaction
 * any more. GetLockConflicts() leaves those out, except for a prepared transaction's, which keeps its place until its
 * locks are released.
 */
static bool
writers_ending(void)
{
	LOCKTAG tag;
	bool ending = true;

	writers_tag(&tag);
	if (likely(writers_count(&tag) <= 0))
		return false;
	/* Those still in theirs were so all the time where they are the same before and after they are counted. */
	for (int attempt = 0; ending && attempt < 5; attempt++)
	{
		int nbefore;
		int nafter;
		VirtualTransactionId *before = GetLockConflicts(&tag, ShareLock, &nbefore);
		int count = writers_count(&tag);
		VirtualTransactionId *after = GetLockConflicts(&tag, ShareLock, &nafter);

		ending = nbefore != nafter || count > nafter || memcmp(before, after, nafter * sizeof(*after)) != 0;
		for (int i = 0; max_prepared_xacts > 0 && !ending && i < nafter; i++)
			ending = !under_way(after[i]);
		pfree(before);
		pfree(after);
	}
	return ending;
}

/* Returns whether the changes that can be seen are told. replaying: what a standby did then, or InvalidXLogRecPtr. */
static bool
all_told(XLogRecPtr replaying)
{
	return replaying != InvalidXLogRecPtr ? replay_is_past(replaying) : !writers_ending();
}

/*
 * config_caches_stand returns whether all that was read since config_caches_moved() returned moved is of one moment;
 * otherwise it is to be read again. fresh: also by a snapshot of the caller's own, not through caches alone.
 *
 * Costs nothing where nothing was read; else it waits for those whose changes are just becoming visible, a second at
 * most.
 */
bool
config_caches_stand(uint64 moved, bool fresh)
{
	XLogRecPtr replaying;

	AcceptInvalidationMessages();
	if (likely(!unsettled && !fresh) || moves != moved || IsolationUsesXactSnapshot())
		return moves == moved;
	unsettled = true;
	replaying = RecoveryInProgress() ? replay_position() : InvalidXLogRecPtr;
	for (long waited = 0, nap = 10; !all_told(replaying); waited += nap, nap = Min(nap * 2, 2000))
	{
		if (waited >= (replaying == InvalidXLogRecPtr ? LONGEST_WAIT : LONGEST_STANDBY_WAIT))
			return true;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(nap);
	}
	AcceptInvalidationMessages();
	unsettled = false;
	return moves == moved;
}

/*
 * config_caches_hold begins a call that reads what caches hold while code of others may run: a policy, a function of
 * the reader's. What that code makes the caches drop, by asking them anew, lives until config_caches_release().
 *
 * An error ends the call too, at the latest at the end of the transaction.
 */
void
config_caches_hold(void)
{
	register_callbacks();
	holders++;
}

/* config_caches_release ends the call. */
void
config_caches_release(void)
{
	if (holders > 0 && --holders == 0 && spi_scope_depth() == 0)
		forget_held();
}

/*
 * config_cache_discard deletes a context of a cache's data, once no call around this one can read it any more: neither
 * one that said so by config_caches_hold(), nor one whose statement has fired the trigger that this one runs in.
 */
void
config_cache_discard(MemoryContext context)
{
	if (holders <= 1 && spi_scope_depth() <= 1)
		MemoryContextDelete(context);
	else
	{
		if (held == NULL)
			held = AllocSetContextCreate(CacheMemoryContext, "omnichannel held", ALLOCSET_SMALL_SIZES);
		MemoryContextSetParent(context, held);
	}
}

/* Registers the callbacks, once a backend. */
static void
register_callbacks(void)
{
	static bool registered = false;

	if (likely(registered))
		return;
	registered = true;
	CacheRegisterRelcacheCallback(cache_relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, cache_roles_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, cache_roles_changed, (Datum) 0);
	RegisterXactCallback(transaction_ended, NULL);
}

/* Enters a cache in the list that the callbacks walk. */
static void
cache_register(ConfigCache *cache)
{
	register_callbacks();
	/* What was told in this transaction before went unnoticed. */
	cache->told = cache->told_before + 1;
	cache->next = caches;
	caches = cache;
	cache->registered = true;
}

/*
 * Finds the proxy and the tables by name; raises 55000 where setup() has not run.
 *
 * Until then the former proxy goes on counting messages: what it missed would be taken for seen. Those of another one
 * were missed.
 */
static void
cache_resolve(ConfigCache *cache)
{
	char name[NAMEDATALEN];
	uint64 before;

	snprintf(name, sizeof(name), "cache_%s", cache->name);
	do
	{
		Oid proxy;

		before = relations_generation();
		for (int i = 0; i < CONFIG_CACHE_TABLES && cache->tables[i] != NULL; i++)
			cache->table_oids[i] = omni_table(cache->tables[i]);
		proxy = omni_table(name);
		if (proxy != cache->proxy)
			cache->told++;
		cache->proxy = proxy;
	} while (relations_generation() != before);
	cache->resolved = true;
}

/* Returns whether row-level security hides rows from the current role; raises 42501 where it may not read at all. */
static bool
cache_check_rights(ConfigCache *cache)
{
	Oid role = GetUserId();
	bool row_security = false;

	for (int i = 0; i < CONFIG_CACHE_TABLES && cache->tables[i] != NULL; i++)
	{
		AclResult allowed = pg_class_aclcheck(cache->table_oids[i], role, ACL_SELECT);

		if (allowed != ACLCHECK_OK)
			aclcheck_error(allowed, OBJECT_TABLE, cache->tables[i]);
		if (check_enable_rls(cache->table_oids[i], role, true) == RLS_ENABLED)
			row_security = true;
	}
	return row_security;
}

/* Runs load under a snapshot taken now, in an SPI scope. */
static void
cache_run_load(ConfigCache *cache, bool as_owner, void (*load)(ConfigCache *cache, void *arg), void *arg)
{
	SpiScope scope;

	unsettled = true;
	spi_scope_begin(&scope, as_owner);
	PushActiveSnapshot(GetTransactionSnapshot());
	load(cache, arg);
	PopActiveSnapshot();
	spi_scope_end(&scope);
}

typedef struct CacheBuildJob
{
	MemoryContext context;
	void *data;
} CacheBuildJob;

static void
cache_build_job(ConfigCache *cache, void *arg)
{
	CacheBuildJob *job = arg;

	job->data = cache->build(cache, job->context);
}

/* Builds the data aside. The context hangs below the caller's, so that an error frees it. */
static CacheBuildJob
cache_build(ConfigCache *cache, bool as_owner)
{
	CacheBuildJob job = {0};

	if (cache->building)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the configuration \"%s\" is needed to read itself", cache->name),
				 errhint("A policy, a default or a trigger of its tables calls a function that reads them.")));

	job.context = AllocSetContextCreate(CurrentMemoryContext, "omnichannel configuration", ALLOCSET_DEFAULT_SIZES);
	cache->building = true;
	PG_TRY();
	{
		cache_run_load(cache, as_owner, cache_build_job, &job);
	}
	PG_FINALLY();
	{
		cache->building = false;
	}
	PG_END_TRY();
	return job;
}

/* Returns whether each change of the tables is told to the cache: the triggers are there, and fire for replicas too. */
static bool
cache_is_told(const ConfigCache *cache)
{
	char name[NAMEDATALEN];
	bool told = true;

	snprintf(name, sizeof(name), "00_config_changed_%s", cache->name);
	for (int i = 0; told && i < CONFIG_CACHE_TABLES && cache->tables[i] != NULL; i++)
	{
		Relation table = table_open(cache->table_oids[i], AccessShareLock);
		const TriggerDesc *triggers = table->trigdesc;

		told = false;
		for (int j = 0; triggers != NULL && j < triggers->numtriggers && !told; j++)
			told = triggers->triggers[j].tgenabled == TRIGGER_FIRES_ALWAYS &&
				   strcmp(triggers->triggers[j].tgname, name) == 0;
		table_close(table, NoLock);
	}
	return told;
}

/*
 * Returns whether all whose changes this transaction's snapshot shows have told so, as whoever changes the tables holds
 * a lock on the proxy until then. Accepts messages: the cache's state counts after it only.
 */
static bool
cache_is_settled(const ConfigCache *cache)
{
	LOCKTAG tag;
	VirtualTransactionId *writers;
	int nwriters;

	if (!cache->resolved || IsolationIsSerializable() || RecoveryInProgress())
		return false;
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, cache->proxy);
	writers = GetLockConflicts(&tag, ShareLock, &nwriters);
	pfree(writers);
	if (nwriters > 0 || writers_ending())
		return false;
	AcceptInvalidationMessages();
	return true;
}

/* Rebuilds the cache and swaps it in last; an error leaves it as it was, and marked. */
static void
cache_rebuild(ConfigCache *cache, LocalTransactionId lxid)
{
	CacheBuildJob job;
	bool told;

	cache->state = CACHE_REBUILDING;
	job = cache_build(cache, true);
	told = cache_is_told(cache);

	MemoryContextSetParent(job.context, CacheMemoryContext);
	if (cache->retired != NULL)
		config_cache_discard(cache->retired);
	cache->retired = cache->context;
	cache->context = job.context;
	cache->data = job.data;
	cache->lxid = lxid;
	cache->generation++;
	if (cache->state == CACHE_REBUILDING)
		cache->state = told ? CACHE_VALID : CACHE_NEEDS_REBUILD;

	/* Nothing was told since before the snapshot was taken, and nothing is due: it shows what any other one would. */
	if (lxid != InvalidLocalTransactionId && cache->told == cache->told_before && cache_is_settled(cache) &&
		cache->told == cache->told_before && cache->state == CACHE_VALID)
	{
		cache->lxid = InvalidLocalTransactionId;
		cache->fits = lxid;
	}
}

/* Returns whether the cache holds what this transaction, InvalidLocalTransactionId for any, is to see. */
static bool
cache_fits(ConfigCache *cache, LocalTransactionId lxid)
{
	if (cache->state != CACHE_VALID || cache->lxid == lxid)
		return cache->state == CACHE_VALID;
	if (cache->lxid != InvalidLocalTransactionId)
		return false;
	if (cache->fits != lxid && cache_is_settled(cache) && cache->state == CACHE_VALID)
		cache->fits = lxid;
	return cache->fits == lxid && cache->state == CACHE_VALID;
}

/*
 * config_cache_get returns the data that the cache's build function made of the rows as they are now.
 *
 * Good until the next config_cache_get() of the same cache, so copy what must outlive a call back into SQL. Data that a
 * generation number remembers may be kept while cache->generation stays the same and this function has been called.
 * Raises 55000 before setup(), 42501 for a role that may not read the tables, and what the build raises.
 */
const void *
config_cache_get(ConfigCache *cache)
{
	LocalTransactionId lxid = IsolationUsesXactSnapshot() ? MY_LXID : InvalidLocalTransactionId;

	if (unlikely(!cache->registered))
		cache_register(cache);

	AcceptInvalidationMessages();

	if (likely(cache->state == CACHE_VALID && cache->reader == GetUserId() &&
			   (cache->lxid == lxid || (cache->lxid == InvalidLocalTransactionId && cache->fits == lxid))))
		return cache->data;

	if (!cache->resolved)
		cache_resolve(cache);

	if (cache_check_rights(cache))
	{
		/* The build numbers data as if they were kept, so that nobody takes them for an older generation's. */
		CacheBuildJob job = cache_build(cache, false);

		cache->generation++;
		cache->reader = InvalidOid;
		cache->state = CACHE_NEEDS_REBUILD;
		cache->fill_context = job.context;
		cache->fill_as_owner = false;
		return job.data;
	}

	if (!cache_fits(cache, lxid))
	{
		if (!cache->resolved)
			cache_resolve(cache);
		cache_rebuild(cache, lxid);
	}
	cache->fill_context = cache->context;
	cache->fill_as_owner = true;
	cache->reader = cache->resolved ? GetUserId() : InvalidOid;
	return cache->data;
}

/*
 * config_cache_read runs load, which adds rows to a cache that is filled on demand, and finds them through look.c.
 *
 * Call it right after config_cache_get(): the rows are then at least as new as the last message consumed. load runs
 * under a new snapshot, must allocate in cache->fill_context, and must leave the data whole if it raises.
 * cache->fill_as_owner tells whether it may: otherwise a statement is to read the rows, with the reader's rights.
 */
void
config_cache_read(ConfigCache *cache, void (*load)(ConfigCache *cache, void *arg), void *arg)
{
	unsettled = true;
	PushActiveSnapshot(GetTransactionSnapshot());
	load(cache, arg);
	PopActiveSnapshot();
}

/* invalidate_cache('cache', …): trigger function that marks the named caches in every backend at commit. */
Datum
omnichannel_invalidate_cache(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = own_trigger(fcinfo, NULL);

	if (!TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"invalidate_cache\" must be fired AFTER the change")));
	if (trigger->tg_trigger->tgnargs < 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"invalidate_cache\" needs the names of caches as arguments")));

	for (int i = 0; i < trigger->tg_trigger->tgnargs; i++)
	{
		char proxy_name[NAMEDATALEN];
		LOCKTAG tag;
		Oid proxy;

		snprintf(proxy_name, sizeof(proxy_name), "cache_%s", trigger->tg_trigger->tgargs[i]);
		proxy = get_relname_relid(proxy_name, omni_schema());
		if (!OidIsValid(proxy))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("configuration cache \"%s\" does not exist", trigger->tg_trigger->tgargs[i]),
					 errhint("setup() creates the caches and their triggers.")));
		/* Until this is told: see cache_is_settled() and writers_ending(). */
		LockRelationOid(proxy, RowExclusiveLock);
		writers_tag(&tag);
		(void) LockAcquire(&tag, RowExclusiveLock, false, false);
		CacheInvalidateRelcacheByRelid(proxy);
	}
	return PointerGetDatum(NULL);
}

/* Adds a row to cache_status()'s result. */
static void
status_put(ReturnSetInfo *result, const char *name, bool valid, uint64 built, Size bytes)
{
	Datum values[4] = {CStringGetTextDatum(name), BoolGetDatum(valid), Int64GetDatum((int64) built),
					   Int64GetDatum((int64) bytes)};
	bool nulls[4] = {0};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * cache_status(): returns a row for each cache that this session has used: name, valid, times built, bytes; and one for
 * what it remembers of the pages of indexes.
 */
Datum
omnichannel_cache_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	uint64 guides;
	Size bytes;

	init_materialized_srf(fcinfo);
	AcceptInvalidationMessages();
	for (ConfigCache *cache = caches; cache != NULL; cache = cache->next)
	{
		bytes = cache->context == NULL ? 0 : MemoryContextMemAllocated(cache->context, true);
		if (cache->retired != NULL)
			bytes += MemoryContextMemAllocated(cache->retired, true);
		status_put(result, cache->name, cache->state == CACHE_VALID, cache->generation, bytes);
	}
	if ((bytes = leaf_memory_used(&guides)) > 0)
		status_put(result, "leaves", true, guides, bytes);
	return (Datum) 0;
}
