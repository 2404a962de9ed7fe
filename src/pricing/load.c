/*
 * load.c
 *	  Products with their prices, read on demand and kept.
 *
 * A product's entry holds the rows of price of all lists and times that name it, sorted, so that every question about
 * it (whoever asks, as of whenever) is answered from memory. Rows for categories and for everything are kept once and
 * linked to. What is not kept yet is read by fill.c.
 *
 * Any change of price or product voids the whole cache: what is asked for again is read again. The memory is bounded by
 * omnichannel.price_cache: when it is full all is dropped, which costs the hot products one reading each and needs no
 * bookkeeping in the hot path. core/cache.c keeps one former generation alive, so each may use half of the setting.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "pricing/fill.h"

int price_cache_size = 64 * 1024;

/* What one call of the cache's loader is to read. */
typedef struct LoadJob
{
	PriceCache *cache;
	PriceRules *rules;
	text **codes;
	int ncodes;
} LoadJob;

static void *price_build(ConfigCache *cache, MemoryContext context);

static ConfigCache price_cache = {.name = "price", .tables = {"price", "product"}, .build = price_build};

static void *
price_build(ConfigCache *config, MemoryContext context)
{
	PriceCache *cache = MemoryContextAllocZero(context, sizeof(PriceCache));

	cache->parent = context;
	return cache;
}

/* Makes an empty context for the entries. */
static void
price_cache_open(PriceCache *cache, PriceRules *rules)
{
	MemoryContext context = AllocSetContextCreate(cache->parent, "omnichannel prices", ALLOCSET_DEFAULT_SIZES);

	code_map_init(&cache->products, context, Max(cache->expected, 16));
	code_map_init(&cache->categories, context, 16);
	cache->hoard = MemoryContextAllocZero(context, sizeof(Hoard));
	cache->hoard->context = context;
	cache->hoard->largest = hoard_largest((Size) price_cache_size * 1024);
	cache->everything = NULL;
	cache->loading = false;
	cache->rules_generation = rules->generation;
	cache->context = context;
}

/* Drops all entries. */
static void
price_cache_drop(PriceCache *cache)
{
	MemoryContext context = cache->context;

	cache->context = NULL;
	if (context != NULL)
		config_cache_discard(context);
}

static void
price_load(ConfigCache *config, void *arg)
{
	LoadJob *job = arg;

	products_fill(job->cache, job->rules, job->codes, job->ncodes, config->fill_as_owner);
}

/* Empties the cache where it must be, and opens it. */
static void
price_cache_ready(PriceCache *cache, PriceRules *rules)
{
	if (cache->context != NULL && MemoryContextMemAllocated(cache->context, false) > (Size) price_cache_size * 1024 / 2)
	{
		cache->expected = cache->products.count;
		price_cache_drop(cache);
	}
	/* A load that was broken off leaves entries without their rows. */
	if (cache->context != NULL && (cache->loading || cache->rules_generation != rules->generation))
		price_cache_drop(cache);
	if (cache->context == NULL)
		price_cache_open(cache, rules);
}

/* Returns the cache, ready. */
static PriceCache *
price_cache_get(PriceRules *rules)
{
	PriceCache *cache = unconstify(PriceCache *, (const PriceCache *) config_cache_get(&price_cache));

	price_cache_ready(cache, rules);
	return cache;
}

/* Finds products in the cache, and reads what is missing: as of the active snapshot where the cache is held. */
static void
find_products(PriceCache *cache, bool held, PriceRules *rules, text **codes, int ncodes, const Product **products)
{
	text **missing = NULL;
	int nmissing = 0;

	for (int i = 0; i < ncodes; i++)
	{
		products[i] = find_product(cache, VARDATA_ANY(codes[i]), VARSIZE_ANY_EXHDR(codes[i]));
		if (products[i] == NULL)
		{
			if (missing == NULL)
				missing = palloc(ncodes * sizeof(text *));
			missing[nmissing++] = codes[i];
		}
	}
	if (nmissing > 0)
	{
		LoadJob job = {cache, rules, missing, nmissing};

		if (held)
			products_fill(cache, rules, missing, nmissing, true);
		else
			config_cache_read(&price_cache, price_load, &job);
		for (int i = 0; i < ncodes; i++)
			if (products[i] == NULL)
				products[i] = find_product(cache, VARDATA_ANY(codes[i]), VARSIZE_ANY_EXHDR(codes[i]));
		pfree(missing);
	}
}

/*
 * products_get finds the products of these codes, with their prices as they are now; NULL for one that is not known.
 *
 * Good until the next call, and as long as the rules. Raises 55000 before setup(), 42501 for a role that may not read
 * the tables.
 */
void
products_get(PriceRules *rules, text **codes, int ncodes, const Product **products)
{
	find_products(price_cache_get(rules), false, rules, codes, ncodes, products);
}

/*
 * products_hold returns the cache as it is now, for a call that reads whole tables under one snapshot and all else by
 * the functions below, whatever is told meanwhile; NULL where the tables are not to be read but with the reader's
 * rights.
 *
 * What they read is as old as that snapshot. A change that it does not show is told to the cache, which is then marked:
 * none of it is found after the call. Needs config_caches_hold(). Raises what products_get() raises.
 */
PriceCache *
products_hold(PriceRules *rules)
{
	PriceCache *cache = price_cache_get(rules);

	return price_cache.fill_as_owner ? cache : NULL;
}

/* products_get_held does what products_get() does, in a cache that is held, under the active snapshot. */
void
products_get_held(PriceCache *cache, PriceRules *rules, text **codes, int ncodes, const Product **products)
{
	price_cache_ready(cache, rules);
	find_products(cache, true, rules, codes, ncodes, products);
}

/*
 * products_link readies products that the caller has read, with their own rows, for questions.
 *
 * They lie in the hoard, and are good until the next call of this function or products_get_held(). Parents that they
 * are not linked to are found as that does. At most PRODUCTS_AT_A_TIME. Raises what products_get() raises.
 */
void
products_link(PriceCache *cache, PriceRules *rules, Product **products, int nproducts, Hoard *hoard)
{
	text *codes[PRODUCTS_AT_A_TIME];
	const Product *parents[PRODUCTS_AT_A_TIME];
	int nparents = 0;

	for (int i = 0; i < nproducts; i++)
		if (products[i]->parent == NULL && products[i]->parent_code != NULL)
			codes[nparents++] = cstring_to_text(products[i]->parent_code);
	products_get_held(cache, rules, codes, nparents, parents);
	nparents = 0;
	for (int i = 0; i < nproducts; i++)
		if (products[i]->parent == NULL && products[i]->parent_code != NULL)
			products[i]->parent = unconstify(Product *, parents[nparents++]);
	products_complete(cache, rules, products, nproducts, hoard, true);
}

/* reference_keep remembers the prior price found last for a product that is kept. */
void
reference_keep(const Product *product, const ReferencePrice *reference)
{
	Product *kept = unconstify(Product *, product);

	if (kept->reference == NULL)
		kept->reference = hoard_alloc(kept->hoard, sizeof(ReferencePrice));
	*kept->reference = *reference;
}
