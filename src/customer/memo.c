/*
 * memo.c
 *	  Who was found before in a statement that logs rows in batches.
 *
 * The rows of a table are mostly of few customers each: to find an address again in a hash table costs a tenth of what
 * its index does. Only what was found is kept, and of nobody who was erased. Who is erased, or loses the address,
 * while the statement runs is known to it as before, like to one that had logged its rows already: tick_erasure()
 * sweeps after transactions that ran at the same time as an erasure. It begins anew where it would take more than
 * work_mem. test/bench/copy.sh measures it.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"

#include "omnichannel.h"
#include "customer/customer.h"

/* As in CustomerLookup: by kind and value, or, where kind is NULL, by customer_id, which is 0 otherwise. */
typedef struct MemoKey
{
	const char *kind;
	const char *value;
	int64 customer_id;
} MemoKey;

typedef struct MemoEntry
{
	MemoKey key;
	uint32 hash;
	char status; /* of the hash table */
	int64 customer_id;
} MemoEntry;

/* Returns the hash of a key; there are few kinds. */
static inline uint32
hash_key(MemoKey key)
{
	if (key.kind == NULL)
		return murmurhash32((uint32) key.customer_id ^ (uint32) (key.customer_id >> 32));
	return hash_bytes((const unsigned char *) key.value, (int) strlen(key.value));
}

/* Returns whether two keys are the same. */
static inline bool
same_key(MemoKey left, MemoKey right)
{
	if (left.kind == NULL || right.kind == NULL)
		return left.kind == right.kind && left.customer_id == right.customer_id;
	return strcmp(left.value, right.value) == 0 && strcmp(left.kind, right.kind) == 0;
}

#define SH_PREFIX memo_table
#define SH_ELEMENT_TYPE MemoEntry
#define SH_KEY_TYPE MemoKey
#define SH_KEY key
#define SH_HASH_KEY(table, key) hash_key(key)
#define SH_EQUAL(table, a, b) same_key(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) ((entry)->hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct CustomerMemo
{
	MemoryContext context;
	memo_table_hash *table; /* NULL while it is empty */
};

/* Returns the key of a lookup. */
static MemoKey
key_of(const CustomerLookup *lookup)
{
	return (MemoKey){lookup->kind, lookup->value, lookup->kind == NULL ? lookup->customer_id : 0};
}

/* Makes an empty memo in the current context. */
CustomerMemo *
customer_memo_begin(void)
{
	CustomerMemo *memo = palloc0(sizeof(CustomerMemo));

	memo->context = AllocSetContextCreate(CurrentMemoryContext, "omnichannel customers", ALLOCSET_DEFAULT_SIZES);
	return memo;
}

/* Sets customer_id and known of a lookup that was found before; returns whether it was. */
bool
customer_memo_find(const CustomerMemo *memo, CustomerLookup *lookup)
{
	MemoEntry *entry = memo->table == NULL ? NULL : memo_table_lookup(memo->table, key_of(lookup));

	if (entry == NULL)
		return false;
	lookup->customer_id = entry->customer_id;
	lookup->known = true;
	return true;
}

/* Keeps a lookup that was found. */
void
customer_memo_add(CustomerMemo *memo, const CustomerLookup *lookup)
{
	MemoKey key = key_of(lookup);
	MemoEntry *entry;
	bool found;

	if (MemoryContextMemAllocated(memo->context, true) >= work_mem * (Size) 1024)
	{
		MemoryContextReset(memo->context);
		memo->table = NULL;
	}
	if (memo->table == NULL)
		memo->table = memo_table_create(memo->context, 64, NULL);
	if (key.kind != NULL)
	{
		key.kind = MemoryContextStrdup(memo->context, key.kind);
		key.value = MemoryContextStrdup(memo->context, key.value);
	}
	entry = memo_table_insert(memo->table, key, &found);
	entry->customer_id = lookup->customer_id;
}
