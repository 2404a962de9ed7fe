/*
 * omnichannel.h
 *	  What the rooms share: the schema, the company's facts, SPI scopes, kept plans and configuration caches.
 *
 * Include it after postgres.h.
 */
#ifndef OMNICHANNEL_H
#define OMNICHANNEL_H

#include "executor/spi.h"
#include "utils/memutils.h"

#include "compat.h"

#define OMNI_SCHEMA "omnichannel"

/* Returns an id from an SQL function, NULL for 0. */
#define RETURN_ID(id)                                                                                                  \
	do                                                                                                                 \
	{                                                                                                                  \
		if ((id) == 0)                                                                                                 \
			PG_RETURN_NULL();                                                                                          \
		PG_RETURN_INT64(id);                                                                                           \
	} while (0)

/* The class of the library's advisory locks: pg_advisory_lock() takes 1 and 2, so that nobody can hold ours by it. */
#define OMNI_LOCK_CLASS 3

/*
 * core/schema.c: where the tables are, and whether setup() has made them.
 */
extern Oid omni_schema(void);
extern Oid omni_table(const char *name);
extern Oid omni_owner(void);
extern Oid relation_owner(Oid relation);

/*
 * core/text.c: texts as arguments, compared, and as messages show them.
 */
extern char *text_argument(FunctionCallInfo fcinfo, int argument);
extern const char *excerpt(const char *value);
extern const char *interval_text(const Interval *interval);
extern bool text_equals(Datum value, const char *expected);

/*
 * core/array.c: arrays for statements over many rows, and as arguments.
 */
extern Datum array_of(Datum *elements, bool *nulls, int count, Oid type);
extern Datum id_array(const int64 *ids, int count);
extern int id_compare(const void *a, const void *b);
extern int64 *customers_argument(FunctionCallInfo fcinfo, int argument, const char *hint, int *count);

/*
 * core/company.c: the one row that setup() writes.
 */
typedef struct Company
{
	const char *currency;     /* ISO 4217 */
	const char *country;      /* ISO 3166-1 alpha-2 */
	const char *calling_code; /* of the country, with its plus: +48 */
	const char *time_zone;
	const char *rounding; /* half_up, half_even or half_down */
	int tax_inclusive;    /* whether amounts in no list contain tax; -1: as the list beside them says */
} Company;

extern const Company *company_get(void);

/*
 * core/scope.c: SPI with a pinned search_path and, where asked for, the rights of the tables' owner.
 */
typedef struct SpiScope
{
	Oid user;
	int security;
	bool switched;
} SpiScope;

extern void spi_scope_begin(SpiScope *scope, bool as_owner);
extern void spi_scope_begin_unpinned(SpiScope *scope, bool as_owner);
extern void spi_scope_end(SpiScope *scope);
extern int spi_scope_depth(void);
extern void spi_scope_pin(void);

typedef struct OwnerSwitch
{
	Oid user;
	int security;
} OwnerSwitch;

extern void owner_switch_begin(OwnerSwitch *owner);
extern void owner_switch_end(OwnerSwitch *owner);

/*
 * core/owner.c: functions that run with the rights of the tables' owner.
 */
extern struct TriggerData *own_trigger(FunctionCallInfo fcinfo, const char *table);
extern Datum call_as_owner(FunctionCallInfo fcinfo, const char *readable);

typedef struct RelationScope
{
	int guc_level;
	Oid user;
	int security;
} RelationScope;

extern void relation_scope_begin(RelationScope *scope, Oid relation);
extern void relation_scope_end(RelationScope *scope);

extern int pinned_output_begin(void);
extern void pinned_output_end(int level);

extern ErrorData *subtransaction_try(void (*work)(void *argument), void *argument);

/*
 * core/plan.c: plans prepared once a backend.
 */
#define KEPT_PLAN_ARGS 24

typedef struct KeptPlan
{
	const char *sql; /* fully qualified */
	int nargs;
	Oid argtypes[KEPT_PLAN_ARGS]; /* built-in types only: others change their OID with the extension */
	bool indexed;                 /* planned once, to look rows up by their indexes; see plan.c */
	bool long_lasting;            /* planned for the values of each execution */
	SPIPlanPtr plan;
	uint64 runs;    /* of an indexed one; its caller adds the rows that it passes beyond one */
	uint64 planned; /* runs when it was planned */
} KeptPlan;

/* Is handed a row of a statement; returns whether it wants more. */
typedef bool (*RowTaker)(void *arg, const Datum *values, const bool *nulls);

extern void kept_plan_send(KeptPlan *kept, Datum *values, RowTaker take, void *arg);
extern uint64 kept_plan_run(KeptPlan *kept, Datum *values, const char *nulls, bool read_only, long max_rows);
pg_noreturn extern void rows_not_taken(const char *table);
extern char *spi_text(uint64 row, int column, MemoryContext context);
extern Datum spi_datum(uint64 row, int column, bool *isnull);
extern int64 spi_id(uint64 row, int column);
extern TimestampTz spi_time(uint64 row, int column, TimestampTz otherwise);
extern bool spi_row_is(uint64 row, const Datum *values, const bool *nulls, int count);

/* Rounds after which a row that is inserted and not there is not another session's doing any more. */
#define INSERT_ROUNDS 10

/*
 * core/cache.c: configuration, cached per backend.
 */
#define CONFIG_CACHE_TABLES 8

typedef struct ConfigCache ConfigCache;

/* Reads the tables into context and returns what the readers get; see config_cache_get(). */
typedef void *(*ConfigCacheBuild)(ConfigCache *cache, MemoryContext context);

struct ConfigCache
{
	/* what the room says of it */
	const char *name;                        /* its proxy is the table omnichannel.cache_<name> */
	const char *tables[CONFIG_CACHE_TABLES]; /* whose rows it holds; the reader needs SELECT on all */
	ConfigCacheBuild build;

	/* private to cache.c */
	ConfigCache *next;
	Oid proxy;
	Oid table_oids[CONFIG_CACHE_TABLES];
	int state;
	bool resolved; /* the proxy and the tables are those that there are now */
	bool registered;
	bool building;
	Oid reader;              /* the role whose right was checked last, or InvalidOid */
	LocalTransactionId lxid; /* the transaction whose own snapshot it was read under, or invalid */
	LocalTransactionId fits; /* the transaction whose own snapshot shows what it holds, though read otherwise */
	uint64 told;             /* counts its messages */
	uint64 told_before;      /* how many there had been when the last transaction ended */
	MemoryContext context;
	MemoryContext retired;
	void *data;
	uint64 generation;          /* changes whenever the data do */
	MemoryContext fill_context; /* where rows read on demand belong */
	bool fill_as_owner;         /* for every role, so that look.c may read them */
};

extern const void *config_cache_get(ConfigCache *cache);
extern uint64 config_caches_moved(void);
extern bool config_caches_stand(uint64 moved, bool fresh);
extern void config_caches_hold(void);
extern void config_caches_release(void);
extern void config_cache_discard(MemoryContext context);
extern uint64 relations_generation(void);
extern void config_cache_read(ConfigCache *cache, void (*load)(ConfigCache *cache, void *arg), void *arg);

#endif /* OMNICHANNEL_H */
