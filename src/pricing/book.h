/*
 * book.h
 *	  The prices of many products in little memory; see book.c.
 */
#ifndef OMNICHANNEL_BOOK_H
#define OMNICHANNEL_BOOK_H

#include "pricing/pricing.h"

/* A place of the hash table. */
typedef struct BookSlot
{
	uint32 hash;
	uint32 length; /* of the code */
	struct BookEntry *entry;
} BookSlot;

/* A row that waits to be entered. */
typedef struct BookLine
{
	uint32 hash;
	uint32 length;
	PriceRow row;
	char code[48];
} BookLine;

#define BOOK_LINES 16

typedef struct PriceBook
{
	MemoryContext context;
	Hoard hoard; /* in it */
	uint32 size; /* of slots, a power of two */
	uint32 count;
	BookSlot *slots;
	uint32 nterms;
	uint32 terms_space;
	PriceRow **terms;
	uint32 last_terms; /* the place of those of the row before */
	int nlines;
	BookLine lines[BOOK_LINES];
} PriceBook;

extern void price_book_open(PriceBook *book, MemoryContext context, double expected, Size limit);
extern void price_book_add(PriceBook *book, const char *code, uint32 length, uint32 hash, const PriceRow *row);
extern void price_book_flush(PriceBook *book);
extern void price_book_take_all(const PriceBook *book, Product **products, int nproducts, Hoard *hoard);

#endif /* OMNICHANNEL_BOOK_H */
