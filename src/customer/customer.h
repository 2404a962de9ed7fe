/*
 * customer.h
 *	  What the customer room offers to the others: channels, customers and their identities.
 */
#ifndef OMNICHANNEL_CUSTOMER_H
#define OMNICHANNEL_CUSTOMER_H

#include "utils/array.h"

#include "omnichannel.h"

/* A channel as configured; good until the next config_cache_get() of the cache. */
typedef struct Channel
{
	char code[64]; /* the hash key */
	int cost;      /* units of an agent's capacity */
	bool opens_request;
	const char *request_kind; /* of what it opens */
	const char *queue;        /* or NULL */
	int64 conversation_gap;   /* microseconds */
} Channel;

extern const Channel *channel_get(const char *code);

extern void identity_kind_check(const char *kind);
extern char *identity_normalise(const char *kind, const char *value);
extern const char *erasure_digest(const char *a, const char *b);
extern int64 customer_match(const char *kind, const char *normalised, bool create, bool *found);

/* A customer to be found, by kind and value (in normal form) or, where kind is NULL, by customer_id. */
typedef struct CustomerLookup
{
	const char *kind;
	const char *value;
	int64 customer_id;
	bool known;
	bool erased;
} CustomerLookup;

/* Who was found before in the statement; see memo.c. */
typedef struct CustomerMemo CustomerMemo;

extern CustomerMemo *customer_memo_begin(void);
extern bool customer_memo_find(const CustomerMemo *memo, CustomerLookup *lookup);
extern void customer_memo_add(CustomerMemo *memo, const CustomerLookup *lookup);
extern void customer_match_many(CustomerLookup *lookups, int count, bool create, CustomerMemo *memo);
extern int64 customer_reserve(void);
extern void customer_create_many(const int64 *ids, int count);
extern bool customer_is_erased(int64 customer_id);
extern void customer_require(int64 customer_id);
pg_noreturn extern void customer_missing(int64 customer_id);
pg_noreturn extern void customer_gone(int64 customer_id);

/*
 * Told of the roots of groups that have changed, in an SPI scope, and whether these were one group that was taken
 * apart; set by a later room that keeps something by group.
 */
typedef void (*CustomerListener)(const int64 *roots, int count, bool parted);

extern CustomerListener customer_listener;

extern ArrayType *customer_group(int64 customer_id, MemoryContext context);

/* Two customers that may be one person. */
typedef struct CustomerPair
{
	int64 customer_id;
	int64 other_id;
	bool same;     /* they are one customer, after merges */
	bool nameless; /* nothing is known of the other that says who it is */
} CustomerPair;

extern void customers_compare(CustomerPair *pairs, int count);
extern bool customers_hold(const int64 *ids, int count, CustomerPair *pairs, int npairs);
extern void customers_regroup(const int64 *ids, int count);
extern bool customer_turned_out(int64 nameless_id, int64 customer_id, const char *reason);

#endif /* OMNICHANNEL_CUSTOMER_H */
