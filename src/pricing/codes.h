/*
 * codes.h
 *	  A map from codes (texts of any length) to what the caches know of them.
 */
#ifndef OMNICHANNEL_CODES_H
#define OMNICHANNEL_CODES_H

#include "core/bytes.h"
#include "core/prefetch.h"

typedef struct CodeEntry
{
	uint32 hash;
	uint32 length;
	union
	{
		uint64 word;      /* the whole code, of CODE_WORD bytes at most: to look at it needs no other memory */
		const char *code; /* not zero-terminated; belongs to value's owner */
	};
	void *value;
} CodeEntry;

typedef struct CodeMap
{
	MemoryContext context;
	uint32 size; /* a power of two */
	uint32 count;
	CodeEntry *entries;
	uint8 *tags; /* of each entry; 0: there is none. Small enough to stay in the processor's cache */
} CodeMap;

#define CODE_WORD sizeof(uint64)

/* Returns a code of CODE_WORD bytes at most as a number, another one for others of the same length. */
static inline uint64
code_word(const char *code, uint32 length)
{
	return length == CODE_WORD ? eight_bytes(code) : few_bytes(code, length);
}

/* Returns some bits of the hash that do not choose the place. */
static inline uint8
code_tag(uint32 hash)
{
	return (uint8) (hash >> 24) | 1;
}

extern void code_map_init(CodeMap *map, MemoryContext context, uint32 expected);
extern void code_map_put_hashed(CodeMap *map, const char *code, uint32 length, uint32 hash, void *value);

/* Mixes a word into a hash: each of its bits concerns the upper half of the product, and that the lower half. */
static inline uint64
hash_mix(uint64 hash, uint64 word)
{
	hash = (hash ^ word) * UINT64CONST(0x9E3779B97F4A7C15);
	return hash ^ hash >> 32;
}

/* Returns the hash of what was mixed so far and the last bytes of a code. */
static inline uint32
last_hash(uint64 hash, uint64 word)
{
	hash = hash_mix(hash, word);
	return (uint32) (hash_mix(hash, hash >> 29) >> 16);
}

/* Returns the hash of a code: of short ones in a quarter of the steps that hash_bytes() takes. */
static inline uint32
code_hash(const char *code, uint32 length)
{
	uint64 hash = length;

	if (length <= CODE_WORD)
		return last_hash(hash, code_word(code, length));
	for (uint32 at = 8; at < length; at += 8)
		hash = hash_mix(hash, eight_bytes(code + at - 8));
	/* The last ones, of which some may have been mixed in before. */
	return last_hash(hash, eight_bytes(code + length - 8));
}

/* Enters a code that is not there yet; the map keeps the pointers. */
static inline void
code_map_put(CodeMap *map, const char *code, uint32 length, void *value)
{
	code_map_put_hashed(map, code, length, code_hash(code, length), value);
}

/* Asks for the memory where a code of this hash is looked for first. */
static inline void
code_map_prefetch(const CodeMap *map, uint32 hash)
{
	prefetch(&map->tags[hash & (map->size - 1)]);
}

/* Returns what was put there under a code of CODE_WORD bytes at most, as a number, that has this hash; or NULL. */
static inline void *
code_map_get_word(const CodeMap *map, uint64 word, uint32 length, uint32 hash)
{
	uint32 last = map->size - 1;
	uint8 wanted = code_tag(hash);
	uint8 tag;

	for (uint32 i = hash & last; (tag = map->tags[i]) != 0; i = (i + 1) & last)
		if (tag == wanted && map->entries[i].word == word && map->entries[i].length == length)
			return map->entries[i].value;
	return NULL;
}

/* Returns what was put there under a code that has this hash, or NULL. */
static inline void *
code_map_get_hashed(const CodeMap *map, const char *code, uint32 length, uint32 hash)
{
	uint8 tag = code_tag(hash);

	if (likely(length <= CODE_WORD))
		return code_map_get_word(map, code_word(code, length), length, hash);
	for (uint32 i = hash & (map->size - 1); map->tags[i] != 0; i = (i + 1) & (map->size - 1))
	{
		const CodeEntry *entry = &map->entries[i];

		if (map->tags[i] == tag && entry->hash == hash && entry->length == length &&
			memcmp(entry->code, code, length) == 0)
			return entry->value;
	}
	return NULL;
}

/* Returns what was put there under this code, or NULL. */
static inline void *
code_map_get(const CodeMap *map, const char *code, uint32 length)
{
	if (likely(length <= CODE_WORD))
	{
		uint64 word = code_word(code, length);

		return code_map_get_word(map, word, length, last_hash(length, word));
	}
	return code_map_get_hashed(map, code, length, code_hash(code, length));
}

#endif /* OMNICHANNEL_CODES_H */
