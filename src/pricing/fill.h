/*
 * fill.h
 *	  The session's products with their prices, and what is read into them; see load.c and fill.c.
 */
#ifndef OMNICHANNEL_FILL_H
#define OMNICHANNEL_FILL_H

#include "pricing/pricing.h"

typedef struct PriceCache
{
	MemoryContext parent;
	MemoryContext context;   /* NULL until something is kept */
	Hoard *hoard;            /* in it */
	bool loading;            /* true outside a load: it was broken off */
	uint64 rules_generation; /* lists and currencies are referred to by place */
	uint32 expected;         /* products: so many it held when it was full */
	CodeMap products;
	CodeMap categories;
	PriceTarget *everything;
} PriceCache;

/* Returns a product that is kept, or NULL. */
static inline Product *
find_product(PriceCache *cache, const char *code, uint32 length)
{
	return code_map_get(&cache->products, code, length);
}

extern void products_fill(PriceCache *cache, PriceRules *rules, text **codes, int ncodes, bool as_owner);
extern void products_complete(PriceCache *cache, PriceRules *rules, Product **products, int nproducts, Hoard *hoard,
							  bool as_owner);

#endif /* OMNICHANNEL_FILL_H */
