/*
 * leaf_guide.c
 *	  Where the leaves of a btree index lie by their keys, as a session remembers it.
 *
 * On the way from the root to a leaf each page is found among the buffers, pinned, locked and searched. A session that
 * goes that way often reads once what the pages right above the leaves say, and keeps eight bytes of each key, behind
 * those that all begin with; the whole key where that tells too few apart. What it looks for then takes a search in
 * memory, and the leaf.
 *
 * It is a guess, however long ago it was read. leaf_search.c locks the leaf and looks whether it is in use, the keys
 * come behind its first row, and not behind its high key: then their rows are there or nowhere, as of that moment.
 * Otherwise it goes the whole way. Where that is often so, the guide is made anew. A page that it names can be another
 * one by now, but is always in the file: a btree becomes shorter only as a new file, but for a table that the
 * transaction has made.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "core/leaf.h"
#include "core/prefetch.h"

/* Ways from the root before it pays to read the pages above the leaves. */
#define GUIDE_AFTER 1000

/* Leaves of which a guide is made at most, 1.5 MB of them, and bytes of their keys. */
#define GUIDE_LEAVES (128 * 1024)
#define GUIDE_TEXTS (4 * 1024 * 1024)

/* What all guides of a session take at most. */
#define GUIDES_BYTES (8 * 1024 * 1024)

/* Made anew, it has to wait twice as long each time, but no longer than this: a page read for some hundred ways. */
#define GUIDE_AT_MOST (64 * GUIDE_AFTER)

/* So many guesses in a row of which one in four is wrong make a guide useless. */
#define GUIDE_TRIED 256

/* So many bounds are fetched from memory together: eight or nine of a processor's lines. */
#define GUIDE_NEAR 32

/* So many bytes may be those that nearly all keys begin with. */
#define GUIDE_SHARED 64

struct LeafGuide
{
	RelFileLocator file; /* of the index */
	uint32 ways;         /* from the root, since there is no guide */
	uint32 after;        /* so many, it is made; 0: GUIDE_AFTER */
	uint32 tried;
	uint32 wrong;
	uint32 served;         /* guesses before these */
	MemoryContext context; /* of the arrays, or NULL */
	uint32 n;              /* of leaves; 0: there is no guide */
	uint32 space;
	uint64 *bounds; /* each leaf's keys come behind, ascending */
	BlockNumber *leaves;
	uint32 *ends; /* of the bounds' texts, of which the first is empty; NULL: they are not kept */
	StringInfoData texts;
	uint32 same; /* bounds that are as the one before */
	uint32 nshared;
	char shared[GUIDE_SHARED];
};

/* Of all that the session remembers of pages, or NULL; and how often it read a guide. */
static MemoryContext leaf_context;
static uint64 guides_made;

/* leaf_memory returns the context of what the session remembers of pages, for as long as it lasts. */
MemoryContext
leaf_memory(void)
{
	if (leaf_context == NULL)
		leaf_context = AllocSetContextCreate(CacheMemoryContext, "omnichannel leaves", ALLOCSET_SMALL_SIZES);
	return leaf_context;
}

/* leaf_memory_used returns how many bytes that takes, and sets how many guides were read. */
Size
leaf_memory_used(uint64 *made)
{
	*made = guides_made;
	return leaf_context == NULL ? 0 : MemoryContextMemAllocated(leaf_context, true);
}

/* leaf_guide_make returns a guide that knows nothing yet, for as long as the session. */
LeafGuide *
leaf_guide_make(void)
{
	return MemoryContextAllocZero(leaf_memory(), sizeof(LeafGuide));
}

/* Forgets what is known; makes it anew after so many ways from the root. */
static void
forget(LeafGuide *guide, uint32 after)
{
	MemoryContext context = guide->context;

	guide->context = NULL;
	guide->n = guide->ways = guide->tried = guide->wrong = guide->served = 0;
	guide->after = after;
	if (context != NULL)
		MemoryContextDelete(context);
}

/* Returns bytes of a text as a number in the order of the bytes; ends are those of keys that lack what others share. */
static uint64
word_of_text(const LeafGuide *guide, const char *bytes, uint32 length)
{
	uint32 shared = Min(guide->nshared, length);
	int order = memcmp(bytes, guide->shared, shared);
	uint64 word = 0;

	if (order != 0 || shared < guide->nshared)
		return order > 0 ? PG_UINT64_MAX : 0;
	memcpy(&word, bytes + shared, Min(length - shared, sizeof(word)));
	return pg_ntoh64(word);
}

static uint64
word_of_number(int64 number)
{
	return (uint64) number ^ (UINT64CONST(1) << 63);
}

/* Sets the text of a row above the leaves; returns false where it is not to be had without unpacking it. */
static bool
text_of_row(IndexTuple row, const char **bytes, uint32 *length)
{
	const char *column = first_column(row);

	if (column == NULL || VARATT_IS_EXTERNAL(column) || VARATT_IS_COMPRESSED(column))
		return false;
	*bytes = VARDATA_ANY(column);
	*length = VARSIZE_ANY_EXHDR(column);
	return true;
}

/* Notes what all texts begin with that lie between the keys of two rows: of the last one first. */
static void
note_shared(const LookScan *scan, LeafGuide *made, IndexTuple row, bool last)
{
	const char *bytes;
	uint32 length;
	uint32 same = 0;

	if (BTreeTupleGetNAtts(row, scan->index) == 0 || !text_of_row(row, &bytes, &length))
	{
		made->nshared = 0;
		return;
	}
	if (last)
	{
		made->nshared = Min(length, GUIDE_SHARED);
		memcpy(made->shared, bytes, made->nshared);
		return;
	}
	while (same < Min(length, made->nshared) && bytes[same] == made->shared[same])
		same++;
	made->nshared = same;
}

/* Does without the bounds' texts. */
static void
forget_texts(LeafGuide *made)
{
	pfree(made->ends);
	pfree(made->texts.data);
	made->ends = NULL;
}

/* Adds a bound: the key of a row above the leaves, or the one before where that cannot be told. */
static void
add_bound(const LookScan *scan, LeafGuide *made, IndexTuple row)
{
	uint64 *bound = &made->bounds[made->n];
	const char *bytes = NULL;
	uint32 start = made->n > 1 && made->ends != NULL ? made->ends[made->n - 2] : 0;
	uint32 length = 0;

	*bound = made->n == 0 ? 0 : bound[-1];
	if (row != NULL && BTreeTupleGetNAtts(row, scan->index) > 0)
	{
		if (scan->leaves->order == LEAF_NUMBER)
		{
			int64 number;

			if ((bytes = first_column(row)) != NULL)
			{
				memcpy(&number, bytes, sizeof(number));
				*bound = word_of_number(number);
			}
		}
		else if (text_of_row(row, &bytes, &length))
			*bound = word_of_text(made, bytes, length);
	}
	made->same += made->n > 0 && bound[-1] == *bound;
	if (made->ends == NULL)
		return;
	if (bytes == NULL && made->n > 0)
		length = made->ends[made->n - 1] - start;
	if (made->texts.len + length > GUIDE_TEXTS)
	{
		forget_texts(made);
		return;
	}
	enlargeStringInfo(&made->texts, (int) length);
	appendBinaryStringInfo(&made->texts, bytes != NULL ? bytes : made->texts.data + start, (int) length);
	made->ends[made->n] = made->texts.len;
}

/* Makes room for so many leaves more. */
static void
make_room(LeafGuide *made, uint32 more)
{
	if (made->n + more <= made->space)
		return;
	made->space = Max(made->space * 2, made->n + more);
	made->bounds = repalloc_huge(made->bounds, made->space * sizeof(uint64));
	made->leaves = repalloc_huge(made->leaves, made->space * sizeof(BlockNumber));
	if (made->ends != NULL)
		made->ends = repalloc_huge(made->ends, made->space * sizeof(uint32));
}

/*
 * Adds the leaves that a page right above them leads to. The bound of the first one is the high key of the page before,
 * which is added with no leaf yet.
 */
static void
add_leaves(const LookScan *scan, LeafGuide *made, Page page)
{
	BTPageOpaque opaque = (BTPageOpaque) PageGetSpecialPointer(page);
	OffsetNumber last = PageGetMaxOffsetNumber(page);

	if (P_IGNORE(opaque))
		return;
	make_room(made, last + 1);
	for (OffsetNumber place = P_FIRSTDATAKEY(opaque); place <= last; place++)
	{
		if (place > P_FIRSTDATAKEY(opaque))
			add_bound(scan, made, row_on(page, place));
		made->leaves[made->n++] = BTreeTupleGetDownLink(row_on(page, place));
	}
	if (!P_RIGHTMOST(opaque))
		add_bound(scan, made, row_on(page, P_HIKEY));
}

/* Returns the first or last page right above the leaves, locked; or invalid where there is none. */
static Buffer
find_page(const LookScan *scan, bool last)
{
	Buffer buffer = bt_getroot(scan->index, scan->table);

	while (BufferIsValid(buffer))
	{
		Page page = BufferGetPage(buffer);
		BTPageOpaque opaque = (BTPageOpaque) PageGetSpecialPointer(page);
		OffsetNumber place = last ? PageGetMaxOffsetNumber(page) : P_FIRSTDATAKEY(opaque);

		if (P_IGNORE(opaque) && !P_RIGHTMOST(opaque))
			buffer = leaf_step(scan->index, buffer, opaque->btpo_next);
		else if (!P_IGNORE(opaque) && opaque->btpo_level > 1)
			buffer = leaf_step(scan->index, buffer, BTreeTupleGetDownLink(row_on(page, place)));
		else if (!P_IGNORE(opaque) && opaque->btpo_level == 1)
			break;
		else
		{
			UnlockReleaseBuffer(buffer);
			buffer = InvalidBuffer;
		}
	}
	return buffer;
}

/* Finds what keys begin with; returns the first page right above the leaves, locked, or invalid where there is none. */
static Buffer
find_first_page(const LookScan *scan, LeafGuide *made)
{
	Buffer buffer = InvalidBuffer;

	if (scan->leaves->order == LEAF_BYTES)
	{
		buffer = find_page(scan, true);
		if (!BufferIsValid(buffer))
			return buffer;
		note_shared(scan, made, row_on(BufferGetPage(buffer), PageGetMaxOffsetNumber(BufferGetPage(buffer))), true);
		UnlockReleaseBuffer(buffer);
	}
	buffer = find_page(scan, false);
	if (BufferIsValid(buffer) && scan->leaves->order == LEAF_BYTES)
	{
		Page page = BufferGetPage(buffer);
		OffsetNumber second = P_FIRSTDATAKEY((BTPageOpaque) PageGetSpecialPointer(page)) + 1;

		/* The first one's key is not there. */
		if (second <= PageGetMaxOffsetNumber(page))
			note_shared(scan, made, row_on(page, second), false);
		else
			made->nshared = 0;
	}
	return buffer;
}

/* Reads the pages right above the leaves. A small index has none, one that is too large is left alone. */
static void
read_guide(const LookScan *scan, LeafGuide *guide)
{
	LeafGuide made = {.file = scan->index->rd_locator};
	MemoryContext old;
	Buffer buffer;
	bool whole = false;

	forget(guide, Min(Max(guide->after, GUIDE_AFTER) * 2, GUIDE_AT_MOST));
	buffer = find_first_page(scan, &made);
	if (!BufferIsValid(buffer))
		return;
	made.context = AllocSetContextCreate(CurrentMemoryContext, "omnichannel leaves of an index", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(made.context);
	made.space = 1024;
	made.bounds = palloc(made.space * sizeof(uint64));
	made.leaves = palloc(made.space * sizeof(BlockNumber));
	if (scan->leaves->order == LEAF_BYTES)
	{
		made.ends = palloc(made.space * sizeof(uint32));
		initStringInfo(&made.texts);
	}
	add_bound(scan, &made, NULL);
	while (made.n <= GUIDE_LEAVES && !whole)
	{
		BTPageOpaque opaque = (BTPageOpaque) PageGetSpecialPointer(BufferGetPage(buffer));
		BlockNumber right = opaque->btpo_next;

		whole = P_RIGHTMOST(opaque);
		add_leaves(scan, &made, BufferGetPage(buffer));
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		CHECK_FOR_INTERRUPTS();
		if (!whole)
		{
			buffer = ReleaseAndReadBuffer(buffer, scan->index, right);
			LockBuffer(buffer, BUFFER_LOCK_SHARE);
			_bt_checkpage(scan->index, buffer);
		}
		else
			ReleaseBuffer(buffer);
	}
	if (!whole)
		UnlockReleaseBuffer(buffer);
	MemoryContextSwitchTo(old);
	/* Eight bytes tell them apart. */
	if (whole && made.ends != NULL && made.same < made.n / 32)
		forget_texts(&made);
	if (!whole ||
		MemoryContextMemAllocated(leaf_memory(), true) + MemoryContextMemAllocated(made.context, true) > GUIDES_BYTES)
	{
		MemoryContextDelete(made.context);
		return;
	}
	made.after = guide->after;
	MemoryContextSetParent(made.context, leaf_memory());
	*guide = made;
	guides_made++;
}

/* Returns whether the text of a bound comes before the key. */
static bool
text_is_before(const LeafGuide *guide, uint32 place, const LeafScan *leaves)
{
	uint32 start = place == 0 ? 0 : guide->ends[place - 1];
	uint32 length = guide->ends[place] - start;
	int order = memcmp(guide->texts.data + start, leaves->text, Min(length, leaves->length));

	return order != 0 ? order < 0 : length < leaves->length;
}

/* Returns the leaf whose bound is the last one before the keys; InvalidBlockNumber where that is not sure. */
static BlockNumber
find_leaf(const LeafGuide *guide, const LeafScan *leaves, uint64 word)
{
	uint32 found = 0;
	uint32 behind = 0;

	/* The last one below the word, and the last one that is not above it. */
	for (uint32 n = guide->n, half; n > 1; n -= half)
	{
		half = n / 2;
		/* What is left has not been in use lately: all of it is asked for at once. */
		if (n > GUIDE_NEAR && n - half <= GUIDE_NEAR)
			for (uint32 i = 0; i < n; i += MEMORY_LINE / sizeof(uint64))
				prefetch(&guide->bounds[found + i]);
		found = guide->bounds[found + half] < word ? found + half : found;
	}
	if (found + 1 == guide->n || guide->bounds[found + 1] != word)
		return guide->bounds[found] < word ? guide->leaves[found] : InvalidBlockNumber;
	if (guide->ends == NULL)
		return InvalidBlockNumber;
	for (uint32 n = guide->n, half; n > 1; n -= half)
	{
		half = n / 2;
		behind = guide->bounds[behind + half] <= word ? behind + half : behind;
	}
	while (found < behind)
	{
		uint32 middle = behind - (behind - found) / 2;

		if (text_is_before(guide, middle, leaves))
			found = middle;
		else
			behind = middle - 1;
	}
	return guide->leaves[found];
}

/* Notes that enough of the last guesses were right. A guide that lasted twice as long as it was waited for has paid. */
static void
guesses_served(LeafGuide *guide)
{
	guide->served += guide->tried;
	guide->tried = guide->wrong = 0;
	if (guide->served < 2 * guide->after)
		return;
	guide->served = 0;
	guide->after = Max(guide->after / 2, GUIDE_AFTER);
}

/* leaf_guide_find returns the leaf where the keys probably are, or InvalidBlockNumber; leaf_guide_failed() if not. */
BlockNumber
leaf_guide_find(const LookScan *scan)
{
	const LeafScan *leaves = scan->leaves;
	LeafGuide *guide = scan->look->guide;
	BlockNumber leaf;

	if (guide == NULL || (leaves->order != LEAF_BYTES && leaves->order != LEAF_NUMBER) ||
		scan->table->rd_createSubid != InvalidSubTransactionId ||
		scan->table->rd_newRelfilelocatorSubid != InvalidSubTransactionId)
		return InvalidBlockNumber;
	if (!RelFileLocatorEquals(guide->file, scan->index->rd_locator))
	{
		forget(guide, GUIDE_AFTER);
		guide->file = scan->index->rd_locator;
	}
	if (guide->n == 0)
	{
		if (++guide->ways < guide->after)
			return InvalidBlockNumber;
		read_guide(scan, guide);
		if (guide->n == 0)
			return InvalidBlockNumber;
	}
	leaf = find_leaf(guide, leaves,
					 leaves->order == LEAF_NUMBER ? word_of_number(leaves->number)
												  : word_of_text(guide, leaves->text, leaves->length));
	if (++guide->tried >= GUIDE_TRIED)
		guesses_served(guide);
	if (leaf == InvalidBlockNumber)
		leaf_guide_failed(scan);
	return leaf;
}

/* leaf_guide_failed says that the keys need not be where the guide told. */
void
leaf_guide_failed(const LookScan *scan)
{
	LeafGuide *guide = scan->look->guide;

	if (++guide->wrong > GUIDE_TRIED / 4)
		forget(guide, guide->after);
}
