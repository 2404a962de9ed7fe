/*
 * recent.c
 *	  Pages of tables and indexes, read from the buffers where they were lately.
 *
 * A page is found among the buffers by a table that all sessions share. Of pages that nobody has read lately, each look
 * into it waits for memory three or four times, and takes a lock besides, which together is as long as to search the
 * page. A session that reads such pages often remembers in which buffer each of them was: four bytes a page. The buffer
 * itself says whether it still has the page.
 *
 * Pages that are read this way do not count as used for whoever looks for a buffer to evict; therefore every so many
 * reads are made as others make them.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "core/leaf.h"
#include "core/recent.h"

/* Reads of a session before it pays to remember. */
#define RECENT_AFTER 1000

/* Pages that are remembered at most, 1 MB; a power of two, as all numbers of them are. */
#define RECENT_PAGES (256 * 1024)

/* One in so many reads of what is remembered counts as use of the page. */
#define RECENT_COUNTED 8

static Buffer *recent;
static uint32 recent_pages;
static uint32 reads;

/* Remembers from now on, as many pages as there are buffers. */
static void
begin(void)
{
	uint32 pages = 1024;

	while (pages < RECENT_PAGES && pages < (uint32) NBuffers)
		pages *= 2;
	recent = MemoryContextAllocZero(leaf_memory(), pages * sizeof(Buffer));
	recent_pages = pages;
}

/* recent_read does what ReadBuffer() does. */
Buffer
recent_read(Relation relation, BlockNumber block)
{
	Buffer *buffer;

	reads++;
	if (recent == NULL)
	{
		if (reads < RECENT_AFTER)
			return ReadBuffer(relation, block);
		begin();
	}
	/* Pages of a relation that lie side by side never share a place. */
	buffer = &recent[(block + RelationGetRelid(relation) * 0x9E3779B1U) & (recent_pages - 1)];
	if (BufferIsValid(*buffer) && reads % RECENT_COUNTED != 0 &&
		ReadRecentBuffer(relation->rd_locator, MAIN_FORKNUM, block, *buffer))
	{
		pgstat_count_buffer_read(relation);
		pgstat_count_buffer_hit(relation);
		return *buffer;
	}
	return *buffer = ReadBuffer(relation, block);
}

/* Returns the place of a page of a table's visibility map. */
static Buffer *
map_place(Relation table, BlockNumber block)
{
	return &recent[(block + (RelationGetRelid(table) ^ VISIBILITYMAP_FORKNUM) * 0x85EBCA6BU) & (recent_pages - 1)];
}

/* recent_map returns a page of a table's visibility map, pinned, or InvalidBuffer where it is not known where it is. */
Buffer
recent_map(Relation table, BlockNumber block)
{
	Buffer buffer = recent == NULL ? InvalidBuffer : *map_place(table, block);

	if (!BufferIsValid(buffer) || reads % RECENT_COUNTED == 0 ||
		!ReadRecentBuffer(table->rd_locator, VISIBILITYMAP_FORKNUM, block, buffer))
		return InvalidBuffer;
	pgstat_count_buffer_read(table);
	pgstat_count_buffer_hit(table);
	return buffer;
}

/* recent_map_read remembers where a page of the map was found. */
void
recent_map_read(Relation table, BlockNumber block, Buffer buffer)
{
	if (recent != NULL)
		*map_place(table, block) = buffer;
}

/* recent_release_and_read does what ReleaseAndReadBuffer() does. */
Buffer
recent_release_and_read(Buffer buffer, Relation relation, BlockNumber block)
{
	if (BufferIsValid(buffer))
	{
		if (BufferGetBlockNumber(buffer) == block)
			return ReleaseAndReadBuffer(buffer, relation, block);
		ReleaseBuffer(buffer);
	}
	return recent_read(relation, block);
}
