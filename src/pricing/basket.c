/*
 * basket.c
 *	  quote_basket_lines(): the lines of a basket, and promotions of the order spread over them so that no cent is lost.
 *
 * Each product is a question of its own, asked for all its lines together: a basket costs the same however an
 * application splits it into lines. Promotions of the order come after all of those of the products, in the same order
 * of stage, priority and saving; what they give is cut to whole minor units and shared in proportion to the products,
 * the units that are left going to the largest remainders, by code among equals: the order of the lines plays no part.
 * Its lines then share what a product costs by their quantities.
 *
 * Products of lists with tax and such of lists without it are added up in one way, in which promotions of the order are
 * shared to the last cent; what a product costs in the other way follows from its share.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "pricing/pricing.h"

SQL_FUNCTION(omnichannel_quote_basket_lines);

/* More lines than any basket has; it bounds the memory of one call. */
#define BASKET_LINES 10000

/* The columns of basket_quote: its own, and those of price_quote around order_discount. */
enum
{
	BASKET_LINE,
	BASKET_QUOTE,
	BASKET_ORDER_DISCOUNT = BASKET_QUOTE + QUOTE_LINE_TOTAL,
	BASKET_LINE_TOTAL,
	BASKET_LINE_NET = BASKET_QUOTE + QUOTE_COLUMNS + 1,
	BASKET_LINE_GROSS,
	BASKET_COLUMNS
};

/* A product of the basket, with all that its lines want of it. */
typedef struct BasketItem
{
	const Product *product;
	Money quantity;
	Money passed; /* of it: what the lines that were put take */
	PriceAnswer answer;
	int64 own_total;    /* as its list says it, in minor units */
	int64 own_discount; /* of promotions of the order */
	int64 net;          /* own_total without tax, and with it */
	int64 gross;
	int64 total; /* own_total with or without tax as the basket is, what follows too */
	int64 least; /* the floor of the whole item */
	int64 discount;
	int64 share; /* of the promotion at hand */
	int64 remainder;
	const Promotion **promotions;
	int npromotions;
} BasketItem;

/* A product and a line that wants it. */
typedef struct BasketLine
{
	const Product *product;
	int line;
} BasketLine;

typedef struct OrderCandidate
{
	const Promotion *promotion;
	int64 saving;
} OrderCandidate;

pg_noreturn static void
basket_too_dear(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("the basket costs more than can be added up"),
			 errhint("Split it into several.")));
}

/* Returns an amount in minor units; raises 22003 where 64 bits do not hold it. */
static int64
minor_units(Money amount, int decimals)
{
	Datum value = NumericGetDatum(money_to_numeric(amount, decimals));
	Datum scale = DirectFunctionCall1(int8_numeric, Int64GetDatum((int64) pow(10, decimals)));

	if (amount.big == NULL && amount.ticks % (MONEY_ONE / 1000000) == 0)
	{
		int64 units = amount.ticks;

		for (int i = decimals; i < MONEY_DECIMALS; i++)
			units /= 10;
		return units;
	}
	value = DirectFunctionCall2(numeric_mul, value, scale);
	if (DatumGetBool(DirectFunctionCall2(numeric_gt, value, NumericGetDatum(int64_to_numeric(PG_INT64_MAX)))))
		basket_too_dear();
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, value));
}

/* Returns minor units as a numeric amount. */
static Datum
minor_units_datum(int64 units, int decimals)
{
	return NumericGetDatum(int64_div_fast_to_numeric(units, decimals));
}

/* Returns what the promotion takes off lines worth so many minor units. */
static int64
order_saving(const Promotion *promotion, int64 total, const PriceQuestion *question)
{
	int decimals = question->currency->decimals;
	Money saving = promotion->value;

	if (promotion->kind == PROMOTION_ORDER_PERCENT)
	{
		Money amount = money_from_numeric(DatumGetNumeric(minor_units_datum(total, decimals)));

		saving = money_multiply(amount, promotion->value);
		if (promotion->has_cap)
			saving = money_least(saving, promotion->cap);
	}
	return Min(minor_units(money_round(saving, decimals, question->rules->rounding), decimals), total);
}

static bool
item_takes_part(const BasketItem *item, const Promotion *promotion)
{
	return item->answer.reason == PRICE_FOUND && !item->answer.ended && promotion_concerns(promotion, item->product);
}

/* Returns the sum of the items that the promotion concerns, and through *room what their floors leave of it. */
static int64
items_total(const BasketItem *items, int n, const Promotion *promotion, int64 *room)
{
	int64 total = 0;

	*room = 0;
	for (int i = 0; i < n; i++)
		if (promotion == NULL ? items[i].answer.reason == PRICE_FOUND : item_takes_part(&items[i], promotion))
		{
			if (pg_add_s64_overflow(total, items[i].total, &total))
				basket_too_dear();
			*room += Max(items[i].total - items[i].least, 0);
		}
	return total;
}

/* Returns whether the promotion can take anything off any of the items. */
static bool
concerns_any(const BasketItem *items, int n, const Promotion *promotion)
{
	for (int i = 0; i < n; i++)
		if (item_takes_part(&items[i], promotion))
			return true;
	return false;
}

/* Shares saving over the items that the promotion concerns; returns whether any got cheaper. */
static bool
spread(BasketItem *items, int n, const Promotion *promotion, int64 saving)
{
	bool changed = false;

	for (int i = 0; i < n; i++)
		items[i].share = 0;

	/* An item that its floor stops leaves the rest to the others: each round ends at least one item or the saving. */
	while (saving > 0)
	{
		int64 weight = 0;
		int64 given = 0;

		for (int i = 0; i < n; i++)
			if (item_takes_part(&items[i], promotion) && items[i].total - items[i].share > items[i].least)
				weight += items[i].total;
		if (weight == 0)
			break;
		for (int i = 0; i < n; i++)
		{
			int64 room = items[i].total - items[i].share - items[i].least;
			int64 part;

			items[i].remainder = -1;
			if (!item_takes_part(&items[i], promotion) || room <= 0)
				continue;
			part = (int64) ((int128) saving * items[i].total / weight);
			items[i].remainder = (int64) ((int128) saving * items[i].total % weight);
			if (part >= room)
			{
				part = room;
				items[i].remainder = -1;
			}
			items[i].share += part;
			given += part;
		}
		saving -= given;
		/* What rounding has left over, a unit each. */
		for (int64 left = Min(saving, n); left > 0; left--)
		{
			BasketItem *best = NULL;

			for (int i = 0; i < n; i++)
				if (items[i].remainder >= 0 && (best == NULL || items[i].remainder > best->remainder))
					best = &items[i];
			if (best == NULL)
				break;
			best->share++;
			best->remainder = -1;
			saving--;
			given++;
		}
		if (given == 0)
			break;
		CHECK_FOR_INTERRUPTS();
	}

	for (int i = 0; i < n; i++)
		if (items[i].share > 0)
		{
			items[i].total -= items[i].share;
			items[i].discount += items[i].share;
			items[i].promotions[items[i].npromotions++] = promotion;
			changed = true;
		}
	return changed;
}

/* Orders as the promotions of a line are. */
static int
compare_order_candidates(const void *a, const void *b)
{
	const OrderCandidate *left = a;
	const OrderCandidate *right = b;
	int order = promotions_compare(left->promotion, right->promotion);

	if (order != 0)
		return order;
	if (left->saving != right->saving)
		return left->saving > right->saving ? -1 : 1;
	return left->promotion->number < right->promotion->number ? -1 : 1;
}

/* Applies the promotions of the order to the items. */
static void
order_apply(const PriceQuestion *question, BasketItem *items, int n, TimestampTz *until)
{
	const PriceRules *rules = question->rules;
	OrderCandidate *candidates = palloc(Max(rules->npromotions, 1) * sizeof(OrderCandidate));
	int ncandidates = 0;
	int napplied = 0;
	int64 room;
	int64 subtotal = items_total(items, n, NULL, &room);
	int decimals = question->currency->decimals;

	for (int i = 0; i < n; i++)
		napplied += items[i].answer.npromotions;
	for (int i = 0; i < rules->npromotions; i++)
	{
		const Promotion *promotion = &rules->promotions[i];

		if (promotion->kind != PROMOTION_ORDER_PERCENT && promotion->kind != PROMOTION_ORDER_AMOUNT)
			continue;
		/* One that concerns others does not bound the time for which this basket's answer holds. */
		if (!concerns_any(items, n, promotion))
			continue;
		if (promotion_verdict(question, promotion,
							  money_from_numeric(DatumGetNumeric(minor_units_datum(subtotal, decimals))),
							  until) != VERDICT_APPLIED)
			continue;
		candidates[ncandidates].promotion = promotion;
		candidates[ncandidates].saving = order_saving(promotion, items_total(items, n, promotion, &room), question);
		ncandidates++;
	}
	qsort(candidates, ncandidates, sizeof(OrderCandidate), compare_order_candidates);

	for (int i = 0; i < ncandidates; i++)
	{
		const Promotion *promotion = candidates[i].promotion;
		int64 total = items_total(items, n, promotion, &room);
		Money now =
			money_from_numeric(DatumGetNumeric(minor_units_datum(items_total(items, n, NULL, &room), decimals)));

		if (promotion->exclusive && napplied > 0)
			continue;
		/* Those before it may have led below its threshold. */
		if (money_compare(promotion->min_subtotal, now) > 0)
			continue;
		if (!spread(items, n, promotion, order_saving(promotion, total, question)))
			continue;
		napplied++;
		if (promotion->exclusive || promotion->stop)
			break;
	}
}

/* Returns minor units of an item with or without tax; see tax_amount(). */
static int64
tax_units(const PriceQuestion *question, const BasketItem *item, int64 units, bool has_tax, bool with_tax)
{
	int decimals = question->currency->decimals;
	Money amount;

	if (has_tax == with_tax || !item->product->has_tax_rate)
		return units;
	amount = money_from_numeric(DatumGetNumeric(minor_units_datum(units, decimals)));
	return minor_units(tax_amount_round(item->product, amount, has_tax, with_tax, decimals, question->rules->rounding),
					   decimals);
}

/* Works out what an item costs with and without tax, once promotions of the order have had their share. */
static void
settle_item(const PriceQuestion *question, BasketItem *item)
{
	bool with_tax = item->answer.list->tax_inclusive;
	bool as_basket = with_tax == question->basket_with_tax || !item->product->has_tax_rate;
	int64 other;

	if (item->discount > 0)
	{
		int64 before = item->own_total;

		item->own_total = tax_units(question, item, item->total, question->basket_with_tax, with_tax);
		item->own_discount = before - item->own_total;
	}
	other = as_basket ? tax_units(question, item, item->own_total, with_tax, !with_tax) : item->total;
	item->net = with_tax ? other : item->own_total;
	item->gross = with_tax ? item->own_total : other;
}

/* Returns what an item costs before any promotion, as the basket is added up. */
static Money
item_before_promotions(const PriceQuestion *question, const BasketItem *item)
{
	return tax_amount_round(item->product, item->answer.before_promotions, item->answer.list->tax_inclusive,
							question->basket_with_tax, question->currency->decimals, question->rules->rounding);
}

/* Returns whether a basket is added up with tax: as the company says, else where amounts beside any item have it. */
static bool
basket_has_tax(const PriceRules *rules, const BasketItem *items, int n)
{
	if (rules->amounts_tax_inclusive >= 0)
		return rules->amounts_tax_inclusive;
	for (int i = 0; i < n; i++)
		if (items[i].answer.reason == PRICE_FOUND && items[i].answer.amounts_with_tax)
			return true;
	return false;
}

/* Turns the question to an item; others becomes the rest of a basket of this subtotal, NULL while not known. */
static void
ask_for_item(PriceQuestion *question, const BasketItem *item, const Money *subtotal, Money *others)
{
	question->product = item->product;
	question->quantity = item->quantity;
	question->others = subtotal == NULL ? NULL : others;
	if (subtotal != NULL)
		*others = item->answer.reason == PRICE_FOUND ? money_subtract(*subtotal, item_before_promotions(question, item))
													 : *subtotal;
}

/* Answers for every item, and notes its floor. */
static void
answer_items(PriceQuestion *question, BasketItem *items, int n, const Money *subtotal)
{
	int decimals = question->currency->decimals;

	for (int i = 0; i < n; i++)
	{
		BasketItem *item = &items[i];
		Money floor;
		Money others;
		bool with_tax;
		int64 least;

		ask_for_item(question, item, subtotal, &others);
		price_resolve(question, &item->answer, NULL);
		if (item->answer.reason != PRICE_FOUND)
			continue;
		floor = item->answer.floor;
		with_tax = item->answer.list->tax_inclusive;
		item->own_total = minor_units(item->answer.line_total, decimals);
		item->total = tax_units(question, item, item->own_total, with_tax, question->basket_with_tax);
		least = minor_units(money_round(money_multiply(floor, item->quantity), decimals, question->rules->rounding),
							decimals);
		item->least = tax_units(question, item, least, with_tax, question->basket_with_tax);
		/* What comes back is not below it either. */
		while (tax_units(question, item, item->least, question->basket_with_tax, with_tax) < least)
			item->least++;
		item->npromotions = item->answer.npromotions;
		item->promotions = palloc((item->npromotions + question->rules->npromotions) * sizeof(Promotion *));
		if (item->npromotions > 0)
			memcpy(item->promotions, item->answer.promotions, item->npromotions * sizeof(Promotion *));
	}
}

/* Returns the sum of the items before any promotion. */
static Money
items_before_promotions(const PriceQuestion *question, const BasketItem *items, int n)
{
	Money sum = MONEY_ZERO;

	for (int i = 0; i < n; i++)
		if (items[i].answer.reason == PRICE_FOUND)
			sum = money_add(sum, item_before_promotions(question, &items[i]));
	return sum;
}

/* Returns the share of an amount that a part takes of a whole, in minor units. */
static int64
share_of(int64 amount, Money part, Money whole)
{
	Money share;

	if (money_compare(part, whole) >= 0)
		return amount;
	share =
		money_divide_round(money_multiply(money_from_numeric(int64_to_numeric(amount)), part), whole, 0, ROUND_HALF_UP);
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(money_to_numeric(share, 0))));
}

/* Returns the part of an amount that the lines up to here take of it, in minor units. */
static int64
part_until(int64 amount, Money quantity, const BasketItem *item)
{
	return share_of(amount, quantity, item->quantity);
}

/*
 * Returns the part of what an item costs the other way, with tax or without, that the lines up to here take of it.
 *
 * It goes by what they take of own_total. To share out both by the quantity would round each for itself, and give a
 * line more without its tax than with it.
 */
static int64
other_part_until(int64 amount, Money quantity, const BasketItem *item)
{
	if (item->own_total == 0)
		return part_until(amount, quantity, item);
	return share_of(amount, money_from_numeric(int64_to_numeric(part_until(item->own_total, quantity, item))),
					money_from_numeric(int64_to_numeric(item->own_total)));
}

/* Puts a line that wants so much of an item into the result. */
static void
put_line(ReturnSetInfo *result, PriceQuestion *question, BasketItem *item, int number, Datum quantity,
		 const Money *subtotal, TimestampTz until)
{
	Money others;
	int decimals = question->currency->decimals;
	Money before = item->passed;
	Datum quote[QUOTE_COLUMNS];
	bool quote_nulls[QUOTE_COLUMNS];
	Datum values[BASKET_COLUMNS] = {0};
	bool nulls[BASKET_COLUMNS] = {0};
	Datum *codes = palloc(Max(item->npromotions, 1) * sizeof(Datum));

	item->passed = money_add(before, money_from_numeric(DatumGetNumeric(quantity)));
	ask_for_item(question, item, subtotal, &others);
	price_quote_values(question, &item->answer, quantity, quote, quote_nulls);
	quote_nulls[QUOTE_VALID_UNTIL] = until == DT_NOEND;
	quote[QUOTE_VALID_UNTIL] = TimestampTzGetDatum(until);
	for (int i = 0; i < item->npromotions; i++)
		codes[i] = PointerGetDatum(item->promotions[i]->code_text);
	quote[QUOTE_PROMOTIONS] = array_of(codes, NULL, item->npromotions, TEXTOID);

	values[BASKET_LINE] = Int32GetDatum(number);
	for (int i = 0; i < QUOTE_COLUMNS; i++)
	{
		int column = i < QUOTE_LINE_TOTAL ? BASKET_QUOTE + i : BASKET_QUOTE + i + 1;

		values[column] = quote[i];
		nulls[column] = quote_nulls[i];
	}
	nulls[BASKET_ORDER_DISCOUNT] = nulls[BASKET_LINE_NET] = nulls[BASKET_LINE_GROSS] =
		item->answer.reason != PRICE_FOUND;
	if (item->answer.reason == PRICE_FOUND)
	{
		values[BASKET_ORDER_DISCOUNT] = minor_units_datum(part_until(item->own_discount, item->passed, item) -
															  part_until(item->own_discount, before, item),
														  decimals);
		values[BASKET_LINE_TOTAL] = minor_units_datum(
			part_until(item->own_total, item->passed, item) - part_until(item->own_total, before, item), decimals);
		values[BASKET_LINE_NET] = minor_units_datum(
			other_part_until(item->net, item->passed, item) - other_part_until(item->net, before, item), decimals);
		values[BASKET_LINE_GROSS] = minor_units_datum(
			other_part_until(item->gross, item->passed, item) - other_part_until(item->gross, before, item), decimals);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Orders lines by the code of their product. */
static int
compare_lines(const void *a, const void *b)
{
	const PriceTarget *left = &((const BasketLine *) a)->product->target;
	const PriceTarget *right = &((const BasketLine *) b)->product->target;
	int order;

	if (left == right)
		return 0;
	order = memcmp(left->code, right->code, Min(left->length, right->length));
	if (order == 0)
		order = left->length < right->length ? -1 : 1;
	return order;
}

/*
 * Adds up what n lines want of each product: fills items, in the order of the products' codes, and of each line the
 * number of its item; returns how many items there are.
 */
static int
collect_items(const Product *const *products, const Datum *quantities, int n, BasketItem *items, int *item_of)
{
	BasketLine *lines = palloc(Max(n, 1) * sizeof(BasketLine));
	int nitems = 0;

	for (int i = 0; i < n; i++)
		lines[i] = (BasketLine){products[i], i};
	qsort(lines, n, sizeof(BasketLine), compare_lines);
	for (int i = 0; i < n; i++)
	{
		int line = lines[i].line;
		BasketItem *item;

		if (i == 0 || lines[i].product != lines[i - 1].product)
			nitems++;
		item_of[line] = nitems - 1;
		item = &items[nitems - 1];
		item->product = lines[i].product;
		item->quantity = money_add(item->quantity, price_quantity(DatumGetNumeric(quantities[line])));
	}
	return nitems;
}

/* quote_basket_lines(customer_id, products, quantities, currency, at, coupons): returns a row for each line. */
Datum
omnichannel_quote_basket_lines(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	PriceQuestion question = {0};
	Datum *codes;
	Datum *quantities;
	bool *code_nulls;
	bool *quantity_nulls;
	int n;
	int nquantities;
	text **wanted;
	const Product **products;
	BasketItem *items;
	int *item_of;
	int nitems;
	Money subtotal;
	TimestampTz until = DT_NOEND;

	init_materialized_srf(fcinfo);
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("products and quantities must not be NULL"),
				 errhint("Pass two arrays of the same length.")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &codes, &code_nulls, &n);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), NUMERICOID, -1, false, TYPALIGN_INT, &quantities, &quantity_nulls,
					  &nquantities);
	if (n != nquantities || n > BASKET_LINES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a basket cannot have %d products and %d quantities", n, nquantities),
				 errhint("Pass a quantity for each product, and at most %d lines.", BASKET_LINES)));

	items = palloc0(Max(n, 1) * sizeof(BasketItem));
	item_of = palloc(Max(n, 1) * sizeof(int));
	wanted = palloc(Max(n, 1) * sizeof(text *));
	products = palloc(Max(n, 1) * sizeof(Product *));
	for (int i = 0; i < n; i++)
	{
		if (code_nulls[i] || quantity_nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("line %d of the basket has no product or no quantity", i + 1),
					 errhint("Leave the line out.")));
		wanted[i] = DatumGetTextPP(codes[i]);
	}
	price_ask(fcinfo, ASKER_CUSTOMER, 3, &question, wanted, n, products);
	nitems = collect_items(products, quantities, n, items, item_of);

	answer_items(&question, items, nitems, NULL);
	question.basket_with_tax = basket_has_tax(question.rules, items, nitems);
	subtotal = items_before_promotions(&question, items, nitems);
	answer_items(&question, items, nitems, &subtotal);
	order_apply(&question, items, nitems, &until);
	for (int i = 0; i < nitems; i++)
		if (items[i].answer.reason == PRICE_FOUND)
			settle_item(&question, &items[i]);
	/* What one line costs bears on the promotions of another. */
	for (int i = 0; i < nitems; i++)
		until = Min(until, items[i].answer.valid_until);
	for (int i = 0; i < n; i++)
		put_line(result, &question, &items[item_of[i]], i + 1, quantities[i], &subtotal, until);
	config_caches_release();
	return (Datum) 0;
}
