/*
 * basket.c
 *	  quote_basket_lines(): the lines of a basket, and promotions of the order spread over them so that no cent is lost.
 *
 * Each line is a question of its own. Promotions of the order come after all of those of the lines, in the same order
 * of stage, priority and saving; what they give is cut to whole minor units and shared in proportion to the lines, the
 * units that are left going to the largest remainders, the earlier line first.
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

/* The columns of basket_quote. */
enum
{
	BASKET_LINE,
	BASKET_PRODUCT,
	BASKET_QUANTITY,
	BASKET_CURRENCY,
	BASKET_LIST_PRICE,
	BASKET_UNIT_PRICE,
	BASKET_ORDER_DISCOUNT,
	BASKET_LINE_TOTAL,
	BASKET_PRICE_LIST,
	BASKET_PROMOTIONS,
	BASKET_VALID_UNTIL,
	BASKET_REASON,
	BASKET_COLUMNS
};

typedef struct BasketLine
{
	const Product *product;
	Datum quantity_datum;
	Money quantity;
	PriceAnswer answer;
	int64 total; /* in minor units, what follows too */
	int64 least; /* the floor of the whole line */
	int64 discount;
	int64 share; /* of the promotion at hand */
	int64 remainder;
	const Promotion **promotions;
	int npromotions;
} BasketLine;

typedef struct OrderCandidate
{
	const Promotion *promotion;
	int64 saving;
} OrderCandidate;

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
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, DirectFunctionCall2(numeric_mul, value, scale)));
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
line_takes_part(const BasketLine *line, const Promotion *promotion)
{
	return line->answer.reason == PRICE_FOUND && !line->answer.ended && line->product->promotions != NULL &&
		   BIT_TEST(line->product->promotions, promotion->number);
}

/* Returns the sum of the lines that the promotion concerns, and through *room what their floors leave of it. */
static int64
lines_total(const BasketLine *lines, int n, const Promotion *promotion, int64 *room)
{
	int64 total = 0;

	*room = 0;
	for (int i = 0; i < n; i++)
		if (promotion == NULL ? lines[i].answer.reason == PRICE_FOUND : line_takes_part(&lines[i], promotion))
		{
			if (pg_add_s64_overflow(total, lines[i].total, &total))
				ereport(ERROR,
						(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						 errmsg("the basket costs more than can be added up"),
						 errhint("Split it into several.")));
			*room += Max(lines[i].total - lines[i].least, 0);
		}
	return total;
}

/* Shares saving over the lines that the promotion concerns; returns whether any line got cheaper. */
static bool
spread(BasketLine *lines, int n, const Promotion *promotion, int64 saving)
{
	bool changed = false;

	for (int i = 0; i < n; i++)
		lines[i].share = 0;

	/* A line that its floor stops leaves the rest to the others: each round ends at least one line or the saving. */
	while (saving > 0)
	{
		int64 weight = 0;
		int64 given = 0;

		for (int i = 0; i < n; i++)
			if (line_takes_part(&lines[i], promotion) && lines[i].total - lines[i].share > lines[i].least)
				weight += lines[i].total;
		if (weight == 0)
			break;
		for (int i = 0; i < n; i++)
		{
			int64 room = lines[i].total - lines[i].share - lines[i].least;
			int64 part;

			lines[i].remainder = -1;
			if (!line_takes_part(&lines[i], promotion) || room <= 0)
				continue;
			part = (int64) ((int128) saving * lines[i].total / weight);
			lines[i].remainder = (int64) ((int128) saving * lines[i].total % weight);
			if (part >= room)
			{
				part = room;
				lines[i].remainder = -1;
			}
			lines[i].share += part;
			given += part;
		}
		saving -= given;
		/* What rounding has left over, a unit each. */
		for (int64 left = Min(saving, n); left > 0; left--)
		{
			BasketLine *best = NULL;

			for (int i = 0; i < n; i++)
				if (lines[i].remainder >= 0 && (best == NULL || lines[i].remainder > best->remainder))
					best = &lines[i];
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
		if (lines[i].share > 0)
		{
			lines[i].total -= lines[i].share;
			lines[i].discount += lines[i].share;
			lines[i].promotions[lines[i].npromotions++] = promotion;
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

/* Applies the promotions of the order to the lines. */
static void
order_apply(const PriceQuestion *question, BasketLine *lines, int n, TimestampTz *until)
{
	const PriceRules *rules = question->rules;
	OrderCandidate *candidates = palloc(Max(rules->npromotions, 1) * sizeof(OrderCandidate));
	int ncandidates = 0;
	int napplied = 0;
	int64 room;
	int64 subtotal = lines_total(lines, n, NULL, &room);
	int decimals = question->currency->decimals;

	for (int i = 0; i < n; i++)
		napplied += lines[i].answer.npromotions;
	for (int i = 0; i < rules->npromotions; i++)
	{
		const Promotion *promotion = &rules->promotions[i];

		if (promotion->kind != PROMOTION_ORDER_PERCENT && promotion->kind != PROMOTION_ORDER_AMOUNT)
			continue;
		if (promotion_verdict(question, promotion,
							  money_from_numeric(DatumGetNumeric(minor_units_datum(subtotal, decimals))),
							  until) != VERDICT_APPLIED)
			continue;
		candidates[ncandidates].promotion = promotion;
		candidates[ncandidates].saving = order_saving(promotion, lines_total(lines, n, promotion, &room), question);
		ncandidates++;
	}
	qsort(candidates, ncandidates, sizeof(OrderCandidate), compare_order_candidates);

	for (int i = 0; i < ncandidates; i++)
	{
		const Promotion *promotion = candidates[i].promotion;
		int64 total = lines_total(lines, n, promotion, &room);
		Money now =
			money_from_numeric(DatumGetNumeric(minor_units_datum(lines_total(lines, n, NULL, &room), decimals)));

		if (promotion->exclusive && napplied > 0)
			continue;
		/* Those before it may have led below its threshold. */
		if (money_compare(promotion->min_subtotal, now) > 0)
			continue;
		if (!spread(lines, n, promotion, order_saving(promotion, total, question)))
			continue;
		napplied++;
		if (promotion->exclusive || promotion->stop)
			break;
	}
}

/* Answers every line, and notes its floor. */
static void
answer_lines(PriceQuestion *question, BasketLine *lines, int n)
{
	int decimals = question->currency->decimals;

	for (int i = 0; i < n; i++)
	{
		BasketLine *line = &lines[i];

		question->product = line->product;
		question->quantity = line->quantity;
		price_resolve(question, &line->answer, NULL);
		if (line->answer.reason != PRICE_FOUND)
			continue;
		line->total = minor_units(line->answer.line_total, decimals);
		line->least = minor_units(
			money_round(money_multiply(line->answer.floor, line->quantity), decimals, question->rules->rounding),
			decimals);
		line->npromotions = line->answer.npromotions;
		line->promotions = palloc((line->npromotions + question->rules->npromotions) * sizeof(Promotion *));
		if (line->npromotions > 0)
			memcpy(line->promotions, line->answer.promotions, line->npromotions * sizeof(Promotion *));
	}
}

/* Returns the sum of the lines before any promotion. */
static Money
lines_before_promotions(const BasketLine *lines, int n)
{
	Money sum = MONEY_ZERO;

	for (int i = 0; i < n; i++)
		if (lines[i].answer.reason == PRICE_FOUND)
			sum = money_add(sum, lines[i].answer.before_promotions);
	return sum;
}

/* Puts one line into the result. */
static void
put_line(ReturnSetInfo *result, PriceQuestion *question, const BasketLine *line, int number, TimestampTz until)
{
	int decimals = question->currency->decimals;
	const PriceAnswer *answer = &line->answer;
	TimestampTz valid_until = Min(until, answer->valid_until);
	Datum values[BASKET_COLUMNS] = {0};
	bool nulls[BASKET_COLUMNS] = {0};
	Datum *codes = palloc(Max(line->npromotions, 1) * sizeof(Datum));

	values[BASKET_LINE] = Int32GetDatum(number);
	values[BASKET_PRODUCT] = PointerGetDatum(line->product->code_text);
	values[BASKET_QUANTITY] = line->quantity_datum;
	values[BASKET_CURRENCY] = PointerGetDatum(question->currency->code_text);
	nulls[BASKET_VALID_UNTIL] = valid_until == DT_NOEND;
	values[BASKET_VALID_UNTIL] = TimestampTzGetDatum(valid_until);
	if (answer->reason != PRICE_FOUND)
	{
		nulls[BASKET_LIST_PRICE] = nulls[BASKET_UNIT_PRICE] = nulls[BASKET_ORDER_DISCOUNT] = true;
		nulls[BASKET_LINE_TOTAL] = nulls[BASKET_PRICE_LIST] = true;
		values[BASKET_REASON] = PointerGetDatum(price_reason_text(question, answer->reason));
	}
	else
	{
		values[BASKET_LIST_PRICE] = NumericGetDatum(money_to_numeric(answer->list_price, decimals));
		values[BASKET_UNIT_PRICE] = NumericGetDatum(money_to_numeric(answer->unit_price, decimals));
		nulls[BASKET_UNIT_PRICE] = !answer->uniform;
		values[BASKET_ORDER_DISCOUNT] = minor_units_datum(line->discount, decimals);
		values[BASKET_LINE_TOTAL] = minor_units_datum(line->total, decimals);
		values[BASKET_PRICE_LIST] = PointerGetDatum(answer->list->code_text);
		nulls[BASKET_REASON] = true;
	}
	for (int i = 0; i < line->npromotions; i++)
		codes[i] = PointerGetDatum(line->promotions[i]->code_text);
	values[BASKET_PROMOTIONS] =
		PointerGetDatum(construct_array(codes, line->npromotions, TEXTOID, -1, false, TYPALIGN_INT));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
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
	BasketLine *lines;
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

	lines = palloc0(Max(n, 1) * sizeof(BasketLine));
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
		lines[i].quantity_datum = quantities[i];
		lines[i].quantity = price_quantity(DatumGetNumeric(quantities[i]));
	}
	price_ask(fcinfo, ASKER_CUSTOMER, 3, &question, wanted, n, products);
	for (int i = 0; i < n; i++)
		lines[i].product = products[i];

	answer_lines(&question, lines, n);
	subtotal = lines_before_promotions(lines, n);
	question.subtotal = &subtotal;
	answer_lines(&question, lines, n);
	order_apply(&question, lines, n, &until);
	for (int i = 0; i < n; i++)
		put_line(result, &question, &lines[i], i + 1, until);
	config_caches_release();
	return (Datum) 0;
}
