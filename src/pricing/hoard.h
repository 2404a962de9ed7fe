/*
 * hoard.h
 *	  Memory for many small things that go all together.
 *
 * An allocation set rounds each up to a power of two, and heads it: products with their prices would take twice the
 * memory that they need. A hoard that becomes large may take large blocks, in large pages where the system has them:
 * what lies anywhere in a hundred megabytes is mostly waited for, and half of that is to find the page.
 */
#ifndef OMNICHANNEL_HOARD_H
#define OMNICHANNEL_HOARD_H

#ifndef WIN32
#include <sys/mman.h>
#endif

#include "utils/memutils.h"

#include "core/prefetch.h"

typedef struct Hoard
{
	MemoryContext context; /* goes with all that is in it */
	char *place;           /* the rest of the last block */
	Size left;
	Size block;
	Size largest; /* a block may be; HOARD_BLOCK in any case */
} Hoard;

#define HOARD_FIRST_BLOCK ((Size) 8 * 1024)
#define HOARD_BLOCK ((Size) 64 * 1024)

#define SMALL_PAGE ((Size) 64 * 1024) /* or less, by system */
#define LARGE_PAGE ((Size) 2 * 1024 * 1024)

/* Returns how large the blocks of a hoard may be that is not to hold more bytes than limit. */
static inline Size
hoard_largest(Size limit)
{
	return Min(limit / 16, 4 * LARGE_PAGE);
}

/* Returns the memory, of which as much as possible is to lie in large pages. It is not used yet. */
static inline void *
in_large_pages(void *bytes, Size size)
{
#ifdef MADV_HUGEPAGE
	/* A mapping of its own begins at a large page, as far as the system sees to that, and it begins with headers. */
	char *first = (char *) TYPEALIGN_DOWN(SMALL_PAGE, bytes);
	char *end = (char *) TYPEALIGN(SMALL_PAGE, (char *) bytes + size);

	/* Where it is refused, small ones do. */
	if (size >= LARGE_PAGE)
		(void) madvise(first, end - first, MADV_HUGEPAGE);
#endif
	return bytes;
}

/* Returns the memory, which the system has been asked for at once: page by page takes five times as long. */
static inline void *
at_hand(void *bytes, Size size)
{
#ifdef MADV_POPULATE_WRITE
	char *first = (char *) TYPEALIGN(SMALL_PAGE, bytes);
	char *end = (char *) TYPEALIGN_DOWN(SMALL_PAGE, (char *) bytes + size);

	/* Where it is refused, it comes page by page. */
	if (first < end)
		(void) madvise(first, end - first, MADV_POPULATE_WRITE);
#endif
	return bytes;
}

/* Returns memory that is aligned, not zeroed. */
static inline void *
hoard_alloc(Hoard *hoard, Size size)
{
	void *bytes;

	size = MAXALIGN(size);
	if (unlikely(size > hoard->left))
	{
		hoard->block = Min(Max(hoard->block * 4, HOARD_FIRST_BLOCK), Max(hoard->largest, HOARD_BLOCK));
		if (size > hoard->block / 8)
			return MemoryContextAllocHuge(hoard->context, size);
		hoard->place =
			at_hand(in_large_pages(MemoryContextAllocHuge(hoard->context, hoard->block), hoard->block), hoard->block);
		hoard->left = hoard->block;
	}
	bytes = hoard->place;
	hoard->place += size;
	hoard->left -= size;
	return bytes;
}

/* Asks for the memory that is given next, so many bytes. */
static inline void
hoard_prefetch(const Hoard *hoard, Size size)
{
	prefetch_to_write(hoard->place, Min(size, hoard->left));
}

#endif /* OMNICHANNEL_HOARD_H */
