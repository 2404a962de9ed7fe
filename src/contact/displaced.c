/*
 * displaced.c
 *	  What waited under a key when another row came to that, remembered until the transaction ends.
 *
 * A statement that moves keys up brings a row to a key before the row that had it is seen to leave, and what is kept of
 * the row that comes takes the place of what was kept of the other, or clears it. Whether the other was ever logged
 * must still be known when its turn comes.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "storage/proc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "omnichannel.h"
#include "contact/tracked.h"

/* A key that a command has brought a row to. */
typedef struct DisplacedKey
{
	CommandId command;
	bool new; /* nothing was known to be logged of what waited there */
	struct DisplacedKey *next;
	const char *source;
	const char *source_key;
} DisplacedKey;

/* Those whose texts have one hash. */
typedef struct DisplacedKeys
{
	uint64 hash;
	DisplacedKey *first;
} DisplacedKeys;

static HTAB *displaced = NULL;
static LocalTransactionId displaced_transaction = InvalidLocalTransactionId;

/* Returns the hash of a key. */
static uint64
hash_key(const char *source, const char *source_key)
{
	return hash_combine64(hash_bytes_extended((const unsigned char *) source, (int) strlen(source), 0),
						  hash_bytes_extended((const unsigned char *) source_key, (int) strlen(source_key), 0));
}

/* Returns what is remembered of a key, or NULL. */
static const DisplacedKey *
displaced_find(const char *source, const char *source_key, CommandId command)
{
	const DisplacedKeys *keys;
	uint64 hash;

	if (displaced_transaction != MY_LXID)
		return NULL;
	hash = hash_key(source, source_key);
	keys = hash_search(displaced, &hash, HASH_FIND, NULL);
	for (const DisplacedKey *key = keys == NULL ? NULL : keys->first; key != NULL; key = key->next)
		if (key->command == command && strcmp(key->source, source) == 0 && strcmp(key->source_key, source_key) == 0)
			return key;
	return NULL;
}

/*
 * note_displaced remembers of what waits under a key, if anything does, whether anything is known to be logged of it: a
 * command brings another row there. What it has brought before counts. Needs an SPI scope of the log's owner.
 */
void
note_displaced(const Tracking *tracking, const char *source_key, CommandId command)
{
	const ContactEntry entry = {.source = tracking->source, .source_key = source_key};
	DisplacedKeys *keys;
	DisplacedKey *key;
	uint64 hash;
	bool found;

	if (!reject_waits(tracking, &entry, 1) || displaced_find(tracking->source, source_key, command) != NULL)
		return;
	if (displaced_transaction != MY_LXID)
	{
		/* The former one went with its transaction. */
		const HASHCTL control = {
			.keysize = sizeof(uint64), .entrysize = sizeof(DisplacedKeys), .hcxt = TopTransactionContext};

		displaced = hash_create("omnichannel displaced keys", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		displaced_transaction = MY_LXID;
	}
	hash = hash_key(tracking->source, source_key);
	key = MemoryContextAlloc(TopTransactionContext, sizeof(DisplacedKey));
	key->command = command;
	key->new = reject_is_new(tracking, tracking->source, source_key);
	key->source = MemoryContextStrdup(TopTransactionContext, tracking->source);
	key->source_key = MemoryContextStrdup(TopTransactionContext, source_key);
	keys = hash_search(displaced, &hash, HASH_ENTER, &found);
	key->next = found ? keys->first : NULL;
	keys->first = key;
}

/*
 * was_new returns whether what waited under a key before a command was a row of which nothing is known to have been
 * logged. Needs an SPI scope of the log's owner.
 */
bool
was_new(const Tracking *tracking, const char *source, const char *source_key, CommandId command)
{
	const DisplacedKey *key = displaced_find(source, source_key, command);

	return key != NULL ? key->new : reject_is_new(tracking, source, source_key);
}
