/*
 * hoard.h
 *	  Memory for many small things that go all together.
 *
 * An allocation set rounds each up to a power of two, and heads it: products with their prices would take twice the
 * memory that they need.
 */
#ifndef OMNICHANNEL_HOARD_H
#define OMNICHANNEL_HOARD_H

#include "utils/memutils.h"

typedef struct Hoard
{
	MemoryContext context; /* goes with all that is in it */
	char *place;           /* the rest of the last block */
	Size left;
	Size block;
} Hoard;

#define HOARD_FIRST_BLOCK ((Size) 8 * 1024)
#define HOARD_BLOCK ((Size) 64 * 1024)

/* Returns memory that is aligned, not zeroed. */
static inline void *
hoard_alloc(Hoard *hoard, Size size)
{
	void *bytes;

	size = MAXALIGN(size);
	if (unlikely(size > hoard->left))
	{
		hoard->block = Min(Max(hoard->block * 2, HOARD_FIRST_BLOCK), HOARD_BLOCK);
		if (size > hoard->block / 8)
			return MemoryContextAllocHuge(hoard->context, size);
		hoard->place = MemoryContextAlloc(hoard->context, hoard->block);
		hoard->left = hoard->block;
	}
	bytes = hoard->place;
	hoard->place += size;
	hoard->left -= size;
	return bytes;
}

#endif /* OMNICHANNEL_HOARD_H */
