/*
 * codes.c
 *	  A map from codes (texts of any length) to what the caches know of them.
 *
 * dynahash wants keys of a fixed length, which would mean a limit on codes or a copy of each before every look-up.
 */
#include "postgres.h"

#include "storage/shmem.h"
#include "utils/memutils.h"

#include "pricing/codes.h"

/* Makes places for so many codes, all free. */
static void
code_map_make(CodeMap *map, uint32 size)
{
	map->size = size;
	map->entries = MemoryContextAllocHuge(map->context, mul_size(size, sizeof(CodeEntry)));
	map->tags = MemoryContextAllocExtended(map->context, size, MCXT_ALLOC_ZERO | MCXT_ALLOC_HUGE);
}

/* Makes an empty map in context, with room for so many codes before it grows. */
void
code_map_init(CodeMap *map, MemoryContext context, uint32 expected)
{
	uint32 size = 16;

	while (size < expected + expected / 2)
		size *= 2;
	map->context = context;
	map->count = 0;
	code_map_make(map, size);
}

/* Enters an entry where there is room; the code must not be there yet. */
static void
code_map_place(CodeMap *map, const CodeEntry *entry)
{
	uint32 i = entry->hash & (map->size - 1);

	while (map->tags[i] != 0)
		i = (i + 1) & (map->size - 1);
	map->tags[i] = code_tag(entry->hash);
	map->entries[i] = *entry;
}

/* Enters a code of this hash that is not there yet; the map keeps the pointers. */
void
code_map_put_hashed(CodeMap *map, const char *code, uint32 length, uint32 hash, void *value)
{
	CodeEntry entry = {.hash = hash, .length = length, .code = code, .value = value};

	if (length <= CODE_WORD)
		entry.word = code_word(code, length);
	if (map->count >= map->size / 3 * 2)
	{
		CodeMap former = *map;

		code_map_make(map, former.size * 2);
		for (uint32 i = 0; i < former.size; i++)
			if (former.tags[i] != 0)
				code_map_place(map, &former.entries[i]);
		pfree(former.entries);
		pfree(former.tags);
	}
	code_map_place(map, &entry);
	map->count++;
}
