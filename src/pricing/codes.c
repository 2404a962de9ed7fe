/*
 * codes.c
 *	  A map from codes (texts of any length) to what the caches know of them.
 *
 * dynahash wants keys of a fixed length, which would mean a limit on codes or a copy of each before every look-up.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "pricing/codes.h"

/* Makes an empty map in context, with room for so many codes before it grows. */
void
code_map_init(CodeMap *map, MemoryContext context, uint32 expected)
{
	map->context = context;
	map->size = 16;
	map->count = 0;
	while (map->size < expected + expected / 2)
		map->size *= 2;
	map->entries =
		MemoryContextAllocExtended(context, mul_size(map->size, sizeof(CodeEntry)), MCXT_ALLOC_ZERO | MCXT_ALLOC_HUGE);
}

/* Enters an entry where there is room; the code must not be there yet. */
static void
code_map_place(CodeEntry *entries, uint32 size, const CodeEntry *entry)
{
	uint32 i = entry->hash & (size - 1);

	while (entries[i].value != NULL)
		i = (i + 1) & (size - 1);
	entries[i] = *entry;
}

/* Enters a code that is not there yet; the map keeps the pointers. */
void
code_map_put(CodeMap *map, const char *code, uint32 length, void *value)
{
	CodeEntry entry = {hash_bytes((const unsigned char *) code, (int) length), length, code, value};

	if (map->count >= map->size / 3 * 2)
	{
		uint32 size = map->size * 2;
		CodeEntry *entries = MemoryContextAllocExtended(map->context, mul_size(size, sizeof(CodeEntry)),
														MCXT_ALLOC_ZERO | MCXT_ALLOC_HUGE);

		for (uint32 i = 0; i < map->size; i++)
			if (map->entries[i].value != NULL)
				code_map_place(entries, size, &map->entries[i]);
		pfree(map->entries);
		map->entries = entries;
		map->size = size;
	}
	code_map_place(map->entries, map->size, &entry);
	map->count++;
}
