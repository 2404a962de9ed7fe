/*
 * rows.h
 *	  Rows of price and product as they are read; see rows.c.
 */
#ifndef OMNICHANNEL_ROWS_H
#define OMNICHANNEL_ROWS_H

#include "core/look.h"
#include "pricing/pricing.h"

/* The columns of price that are read, and those of product; the statements give the one before the other. */
enum
{
	ROW_ID,
	ROW_LIST,
	ROW_MIN_QUANTITY,
	ROW_AMOUNT,
	ROW_ADJUST,
	ROW_SURCHARGE,
	ROW_ROUND_TO,
	ROW_VALID,
	ROW_COLUMNS,
	ROW_PRODUCT = ROW_COLUMNS /* where prices of all products are read only */
};

#define PRICE_COLUMNS "r.price_id, r.price_list, r.min_quantity, r.amount, r.adjust, r.surcharge, r.round_to, r.valid"

enum
{
	PRODUCT_CODE,
	PRODUCT_PARENT,
	PRODUCT_CATEGORY,
	PRODUCT_BRAND,
	PRODUCT_CURRENCY,
	PRODUCT_COST,
	PRODUCT_MIN_PRICE,
	PRODUCT_TAX_RATE,
	PRODUCT_MIN_MARGIN,
	PRODUCT_PERISHABLE,
	PRODUCT_SERVICE,
	PRODUCT_COLUMNS
};

extern LookUp product_price_look;
extern LookUp category_price_look;
extern LookUp list_price_look;
extern LookUp product_look;
extern LookUp all_products_look;

extern void price_row_read(PriceRow *row, int list, const Datum *values, const bool *nulls, MemoryContext context);
extern int price_rows_compare(const void *a, const void *b);
extern Product *product_read(const PriceRules *rules, const Datum *values, const bool *nulls, Hoard *hoard);
extern Product *product_copy(const Product *product, Hoard *hoard);
extern void product_inherit(Product *product);

/* Returns the number of the list, or -1 for one that is too new for the rules: their message is due. */
static inline int
price_list_find(const PriceRules *rules, const text *code)
{
	void *number = code_map_get(&rules->lists_by_code, VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code));

	return (int) (uintptr_t) number - 1;
}

#endif /* OMNICHANNEL_ROWS_H */
