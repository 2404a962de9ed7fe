/*
 * book.c
 *	  The prices of many products in little memory, found by product.
 *
 * A price is 32 bytes: of what else a row holds, the quantity from which it is and its time, there are a few kinds
 * which most rows share. A million products with a price or two fit into a hundred megabytes.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "pricing/book.h"
#include "pricing/rows.h"

/* A price, and the next one of its product. */
typedef struct BookRow
{
	struct BookRow *next;
	int64 id;
	int64 amount; /* ticks */
	int list;
	uint32 terms; /* the place of what else it holds */
} BookRow;

/* A product, and its price read first; its code follows. */
typedef struct BookEntry
{
	BookRow first;
} BookEntry;

/* Places among which terms are looked for by their hash; rows whose terms find none free have their own. */
#define TERMS_PLACES 1024

/* Products whose memory is asked for before they are looked up. */
#define TAKEN_AHEAD 8

/* Makes places for products. */
static void
make_slots(PriceBook *book, uint32 size)
{
	Size bytes = mul_size(size, sizeof(BookSlot));

	book->size = size;
	book->slots = in_large_pages(MemoryContextAllocHuge(book->context, bytes), bytes);
	memset(book->slots, 0, bytes);
}

/*
 * price_book_open makes an empty book for so many products, and more, in the context, which is to be its own and not to
 * hold more bytes than limit.
 */
void
price_book_open(PriceBook *book, MemoryContext context, double expected, Size limit)
{
	uint32 size = 1024;

	memset(book, 0, offsetof(PriceBook, lines));
	book->context = book->hoard.context = context;
	book->hoard.largest = hoard_largest(limit);
	while (size < PG_UINT32_MAX / 2 && size / 4 * 3 < expected)
		size *= 2;
	make_slots(book, size);
	book->terms_space = TERMS_PLACES;
	book->nterms = TERMS_PLACES;
	book->terms = MemoryContextAllocZero(context, TERMS_PLACES * sizeof(PriceRow *));
}

/* Returns the slot where a product is looked for first. */
static inline BookSlot *
first_slot(const PriceBook *book, uint32 hash)
{
	return &book->slots[hash & (book->size - 1)];
}

/* Returns the slot of a product, or that where it belongs. */
static BookSlot *
find_slot(const PriceBook *book, uint32 hash, const char *code, uint32 length)
{
	for (uint32 place = hash & (book->size - 1);; place = (place + 1) & (book->size - 1))
	{
		BookSlot *slot = &book->slots[place];

		if (slot->entry == NULL ||
			(slot->hash == hash && slot->length == length && memcmp(slot->entry + 1, code, length) == 0))
			return slot;
	}
}

/* Doubles the table. */
static void
grow(PriceBook *book)
{
	BookSlot *former = book->slots;
	uint32 former_size = book->size;

	make_slots(book, former_size * 2);
	for (uint32 i = 0; i < former_size; i++)
		if (former[i].entry != NULL)
		{
			uint32 place = former[i].hash & (book->size - 1);

			while (book->slots[place].entry != NULL)
				place = (place + 1) & (book->size - 1);
			book->slots[place] = former[i];
		}
	pfree(former);
}

/* Keeps what a row holds besides its list and amount, at this place. */
static uint32
keep_terms(PriceBook *book, uint32 place, const PriceRow *row)
{
	book->terms[place] = memcpy(hoard_alloc(&book->hoard, sizeof(PriceRow)), row, sizeof(PriceRow));
	return place;
}

/* Returns whether what a row holds besides its list and amount is this. */
static inline bool
terms_are(const PriceRow *terms, const PriceRow *row)
{
	return terms->min_quantity.ticks == row->min_quantity.ticks && terms->valid.from == row->valid.from &&
		   terms->valid.until == row->valid.until;
}

/* Returns the place of what a row holds besides its list and amount. */
static uint32
find_terms(PriceBook *book, const PriceRow *row)
{
	if (row->adjusts == NULL && row->min_quantity.big == NULL && row->amount.big == NULL)
	{
		struct
		{
			int64 min_quantity;
			Span valid;
		} key = {row->min_quantity.ticks, row->valid};
		const PriceRow *terms = book->terms[book->last_terms];
		uint32 place;

		/* Rows of a list come together, and mostly share them. */
		if (terms != NULL && terms_are(terms, row))
			return book->last_terms;
		place = hash_bytes((const unsigned char *) &key, sizeof(key)) % TERMS_PLACES;
		for (int tried = 0; tried < 4; tried++, place = (place + 1) % TERMS_PLACES)
		{
			terms = book->terms[place];
			if (terms == NULL)
				(void) keep_terms(book, place, row);
			else if (!terms_are(terms, row))
				continue;
			book->last_terms = place;
			return place;
		}
	}
	if (book->nterms == book->terms_space)
	{
		book->terms_space *= 2;
		book->terms = repalloc_huge(book->terms, mul_size(book->terms_space, sizeof(PriceRow *)));
	}
	return keep_terms(book, book->nterms++, row);
}

/* Enters a price of a product. */
static void
enter_row(PriceBook *book, const char *code, uint32 length, uint32 hash, const PriceRow *row)
{
	BookSlot *slot = find_slot(book, hash, code, length);
	BookRow *next = NULL;
	BookRow *kept;

	if (slot->entry == NULL)
	{
		BookEntry *entry = hoard_alloc(&book->hoard, sizeof(BookEntry) + length);

		kept = &entry->first;
		memcpy(entry + 1, code, length);
		if (book->count >= book->size / 4 * 3)
		{
			grow(book);
			slot = find_slot(book, hash, code, length);
		}
		*slot = (BookSlot){hash, length, entry};
		book->count++;
	}
	else
	{
		kept = hoard_alloc(&book->hoard, sizeof(BookRow));
		next = slot->entry->first.next;
		slot->entry->first.next = kept;
	}
	*kept = (BookRow){next, row->id, row->amount.ticks, row->list, find_terms(book, row)};
}

/* price_book_flush enters what price_book_add() left waiting. */
void
price_book_flush(PriceBook *book)
{
	for (int i = 0; i < book->nlines; i++)
		prefetch(first_slot(book, book->lines[i].hash)->entry);
	for (int i = 0; i < book->nlines; i++)
	{
		const BookLine *line = &book->lines[i];

		enter_row(book, line->code, line->length, line->hash, &line->row);
	}
	book->nlines = 0;
}

/*
 * price_book_add enters a price of a product; what does not fit into the row must live as long as the book.
 *
 * What a look-up waits for is memory: a few rows wait together. price_book_flush() ends it.
 */
void
price_book_add(PriceBook *book, const char *code, uint32 length, uint32 hash, const PriceRow *row)
{
	BookLine *line = &book->lines[book->nlines];

	if (length > sizeof(line->code))
	{
		enter_row(book, code, length, hash, row);
		return;
	}
	prefetch(first_slot(book, hash));
	line->hash = hash;
	line->length = length;
	line->row = *row;
	memcpy(line->code, code, length);
	book->nlines++;
	if (book->nlines == BOOK_LINES)
		price_book_flush(book);
}

/* So many rows are put in order one by one. */
#define FEW_ROWS 8

/* Puts rows in order. */
static void
sort_rows(PriceRow *rows, int n)
{
	if (n > FEW_ROWS)
	{
		qsort(rows, n, sizeof(PriceRow), price_rows_compare);
		return;
	}
	for (int i = 1; i < n; i++)
	{
		PriceRow row = rows[i];
		int place = i;

		for (; place > 0 && price_rows_compare(&row, &rows[place - 1]) < 0; place--)
			rows[place] = rows[place - 1];
		rows[place] = row;
	}
}

/* Gives a product its rows, in the hoard or in that where it is kept. */
static void
price_book_take(const PriceBook *book, Product *product, Hoard *hoard)
{
	const PriceTarget *target = &product->target;
	const BookEntry *entry = find_slot(book, target->hash, target->code, target->length)->entry;
	PriceRow *place;
	int n = 0;

	if (entry == NULL)
		return;
	for (const BookRow *row = &entry->first; row != NULL; row = row->next)
		n++;
	place = hoard_alloc(product->hoard != NULL ? product->hoard : hoard, mul_size(n, sizeof(PriceRow)));
	product->target.rows = place;
	product->target.nrows = n;
	for (const BookRow *row = &entry->first; row != NULL; row = row->next, place++)
	{
		*place = *book->terms[row->terms];
		place->id = row->id;
		place->list = row->list;
		place->amount.ticks = row->amount;
	}
	sort_rows(product->target.rows, n);
}

/* price_book_take_all does so for many. */
void
price_book_take_all(const PriceBook *book, Product **products, int nproducts, Hoard *hoard)
{
	for (int i = 0; i < nproducts + 3 * TAKEN_AHEAD; i++)
	{
		int slot = i;
		int entry = slot - TAKEN_AHEAD;
		int rows = entry - TAKEN_AHEAD;
		int taken = rows - TAKEN_AHEAD;

		if (slot < nproducts)
			prefetch(first_slot(book, products[slot]->target.hash));
		if (entry >= 0 && entry < nproducts)
			prefetch(first_slot(book, products[entry]->target.hash)->entry);
		if (rows >= 0 && rows < nproducts && first_slot(book, products[rows]->target.hash)->entry != NULL)
			prefetch(first_slot(book, products[rows]->target.hash)->entry->first.next);
		if (taken >= 0)
			price_book_take(book, products[taken], hoard);
	}
}
