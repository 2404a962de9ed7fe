/*
 * quote.c
 *	  quote(), quote_segments() and quotes(): what SQL sees of prices.
 *
 * None of them takes a channel: whoever asks for the same customer, product, quantity and moment gets the same answer.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "pricing/pricing.h"

SQL_FUNCTION(omnichannel_quote);
SQL_FUNCTION(omnichannel_quote_segments);
SQL_FUNCTION(omnichannel_quotes);

/* The largest quantity: beyond it somebody's finger stayed on a key. */
#define QUANTITY_LIMIT INT64CONST(1000000000000)

/* Returns a text argument, or raises 22023 for NULL. */
text *
price_text_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be NULL", name),
				 errhint("Pass a %s.", name)));
	return PG_GETARG_TEXT_PP(number);
}

/* Returns the quantity; raises 22023 for one that nobody can buy. */
Money
price_quantity(Numeric value)
{
	Money quantity = money_from_numeric(value);
	bool possible;

	if (quantity.big == NULL)
		possible = quantity.ticks > 0;
	else
	{
		Datum limit = DirectFunctionCall1(int8_numeric, Int64GetDatum(QUANTITY_LIMIT));

		possible = !numeric_is_nan(value) && money_positive(quantity) &&
				   DatumGetBool(DirectFunctionCall2(numeric_le, NumericGetDatum(value), limit));
	}
	if (!possible)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("quantity %s cannot be sold",
						DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value)))),
				 errhint("A quantity is above zero and at most " INT64_FORMAT "; fractions are allowed.",
						 QUANTITY_LIMIT)));
	return quantity;
}

Money
price_quantity_argument(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("quantity must not be NULL"),
				 errhint("Leave it out for one unit.")));
	return price_quantity(PG_GETARG_NUMERIC(number));
}

/* Returns the currency of the argument, or the company's for NULL; raises 23503 for one that is not known. */
const Currency *
price_currency_argument(FunctionCallInfo fcinfo, int number, const PriceRules *rules)
{
	const Currency *currency = rules->company_currency;
	const char *code = company_get()->currency;

	if (!PG_ARGISNULL(number))
	{
		text *value = PG_GETARG_TEXT_PP(number);

		code = text_to_cstring(value);
		currency = currency_find(rules, value);
	}
	if (currency == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("currency \"%s\" is not known", code),
				 errhint("Use an ISO 4217 code of omnichannel.currency, as in 'EUR'.")));
	return currency;
}

/* Returns the moment of the argument; raises 22023 for NULL and 22008 for one that is not finite. */
TimestampTz
price_at_argument(FunctionCallInfo fcinfo, int number)
{
	TimestampTz at;

	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at must not be NULL"),
				 errhint("Leave it out for the price of now.")));
	at = PG_GETARG_TIMESTAMPTZ(number);
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("at must be finite, not %s", TIMESTAMP_IS_NOBEGIN(at) ? "-infinity" : "infinity"),
				 errhint("Ask for the price as of a moment.")));
	return at;
}

/* Returns the audience of a customer, anonymous for NULL; raises 23503 for one that is not known. */
static const AudienceSet *
customer_argument(FunctionCallInfo fcinfo, int number, PriceRules *rules, TimestampTz at, const Unseen *unseen,
				  TimestampTz *until)
{
	const AudienceSet *audience;

	if (PG_ARGISNULL(number))
	{
		bool kept;

		*until = DT_NOEND;
		return audience_get(rules, NULL, 0, &kept);
	}
	audience = customer_audience(rules, PG_GETARG_INT64(number), at, unseen, until);
	if (audience == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("customer " INT64_FORMAT " is not known", PG_GETARG_INT64(number)),
				 errhint("identify() finds customers; for a visitor who is not known, pass NULL or ask "
						 "quote_segments('{}', ...).")));
	return audience;
}

/* Returns the audience of these segments; raises 23503 for one that is not known. */
const AudienceSet *
price_segments_argument(FunctionCallInfo fcinfo, int number, PriceRules *rules)
{
	Datum *codes;
	bool *nulls;
	int ncodes;
	int *segments;
	bool kept;

	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("segments must not be NULL"),
				 errhint("Pass '{}' for a visitor of whom nothing is known.")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(number), TEXTOID, -1, false, TYPALIGN_INT, &codes, &nulls, &ncodes);
	segments = palloc(Max(ncodes, 1) * sizeof(int));
	for (int i = 0; i < ncodes; i++)
	{
		int found = nulls[i] ? -1 : segment_find(rules, DatumGetTextPP(codes[i]));

		if (found < 0)
			ereport(ERROR,
					(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
					 errmsg("segment \"%s\" is not known", nulls[i] ? "NULL" : TextDatumGetCString(codes[i])),
					 errhint("Use codes of omnichannel.segment.")));
		segments[i] = found;
	}
	return audience_get(rules, segments, ncodes, &kept);
}

/* Raises 23503 for a product that is not known. */
void
price_unknown_product(text *code)
{
	ereport(ERROR,
			(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
			 errmsg("product \"%s\" is not known", text_to_cstring(code)),
			 errhint("Use a code of omnichannel.product.")));
}

/* Returns why there is no price, for people. */
text *
price_reason_text(const PriceQuestion *question, PriceReason reason)
{
	const char *code = question->currency->code;

	switch (reason)
	{
		case PRICE_FOUND:
			break;
		case PRICE_NONE:
			return cstring_to_text("no price list has a price for it yet");
		case PRICE_NO_LIST:
			return cstring_to_text("only price lists that are not active have a price for it");
		case PRICE_NO_CURRENCY:
			return cstring_to_text(psprintf("it has no price in %s", code));
		case PRICE_NO_SEGMENT:
			return cstring_to_text(psprintf("its prices in %s are for other segments", code));
		case PRICE_NO_TIME:
			return cstring_to_text(psprintf("its prices in %s hold at other times", code));
		case PRICE_NO_QUANTITY:
			return cstring_to_text(psprintf("its prices in %s hold from a larger quantity on", code));
		case PRICE_NO_BASE:
			return cstring_to_text(psprintf("it has no base price in %s for a sale or an adjustment to change", code));
	}
	return NULL;
}

/* Returns an amount as the currency writes it. */
static Datum
amount_datum(const PriceQuestion *question, Money amount)
{
	return NumericGetDatum(money_to_numeric(amount, question->currency->decimals));
}

/* Finds the prior price of a reduced one by the rule of the company's country; returns whether there is one. */
static bool
reference_find(const PriceQuestion *question, const PriceAnswer *answer, Money *price)
{
	const ReferencePrice *kept = question->product->reference;
	ReferencePrice reference = {question->rules->stamp, question->audience, question->currency,
								question->quantity.ticks};
	LowestAnswer lowest;

	if (kept != NULL && question->others == NULL && kept->stamp == question->rules->stamp &&
		kept->audience == question->audience && kept->currency == question->currency &&
		kept->quantity == question->quantity.ticks && question->quantity.big == NULL && question->opened == NULL &&
		question->closed == NULL && span_contains(&kept->valid, question->at))
	{
		*price = kept->price;
		return kept->found;
	}
	lowest_find(question, question->rules->omnibus_rule, false, answer, &lowest);
	*price = lowest.lowest;
	/* What a basket is worth can open promotions of its own. */
	if (question->product->hoard != NULL && question->others == NULL && question->audience->kept &&
		question->quantity.big == NULL && question->opened == NULL && question->closed == NULL &&
		lowest.lowest.big == NULL)
	{
		/* From the moment asked for until the price can change, the prior price stays the same. */
		reference.valid = (Span){question->at, Min(answer->valid_until, lowest.until)};
		reference.found = lowest.found;
		reference.price = lowest.lowest;
		reference_keep(question->product, &reference);
	}
	return lowest.found;
}

/* Returns the codes of the promotions that changed the price, as text[]. */
static Datum
promotions_datum(const PriceQuestion *question, const PriceAnswer *answer)
{
	Datum *codes;

	if (answer->npromotions == 0)
		return PointerGetDatum(question->rules->no_promotions);
	if (answer->npromotions == 1)
		return answer->promotions[0]->alone;
	codes = palloc(answer->npromotions * sizeof(Datum));
	for (int i = 0; i < answer->npromotions; i++)
		codes[i] = PointerGetDatum(answer->promotions[i]->code_text);
	return array_of(codes, NULL, answer->npromotions, TEXTOID);
}

/* Does the same for an amount that often is another one, which is done already. */
static Datum
like_datum(const PriceQuestion *question, Money amount, Money other, Datum done)
{
	return money_same(amount, other) ? done : amount_datum(question, amount);
}

/* Puts the tax beside the price: what it is without, and what with it. */
static void
tax_values(const PriceQuestion *question, const PriceAnswer *answer, Datum *values)
{
	const Product *product = question->product;
	int decimals = question->currency->decimals;
	Rounding rounding = question->rules->rounding;
	Money price = answer->unit_price;
	Money factor;

	values[QUOTE_UNIT_NET] = values[QUOTE_UNIT_GROSS] = values[QUOTE_UNIT_PRICE];
	if (!product->has_tax_rate)
		return;
	factor = tax_factor(product);
	if (answer->list->tax_inclusive)
		values[QUOTE_UNIT_NET] = amount_datum(question, money_divide_round(price, factor, decimals, rounding));
	else
		values[QUOTE_UNIT_GROSS] =
			amount_datum(question, money_round(money_multiply(price, factor), decimals, rounding));
}

/* price_quote_values fills the columns of a price_quote. */
void
price_quote_values(const PriceQuestion *question, const PriceAnswer *answer, Datum quantity, Datum *values, bool *nulls)
{
	const Product *product = question->product;

	memset(nulls, 0, QUOTE_COLUMNS * sizeof(bool));
	values[QUOTE_PRODUCT] = PointerGetDatum(product->code_text);
	values[QUOTE_QUANTITY] = quantity;
	values[QUOTE_CURRENCY] = PointerGetDatum(question->currency->code_text);
	values[QUOTE_PROMOTIONS] = promotions_datum(question, answer);
	nulls[QUOTE_REFERENCE_PRICE] = true;
	if (answer->reason == PRICE_FOUND && question->rules->omnibus_rule != NULL && answer->uniform &&
		money_compare(answer->unit_price, answer->list_price) < 0)
	{
		Money reference;

		nulls[QUOTE_REFERENCE_PRICE] = !reference_find(question, answer, &reference);
		if (!nulls[QUOTE_REFERENCE_PRICE])
			values[QUOTE_REFERENCE_PRICE] = amount_datum(question, reference);
	}

	nulls[QUOTE_VALID_UNTIL] = answer->valid_until == DT_NOEND;
	values[QUOTE_VALID_UNTIL] = TimestampTzGetDatum(answer->valid_until);

	nulls[QUOTE_TAX_RATE] = !product->has_tax_rate;
	if (product->has_tax_rate)
		values[QUOTE_TAX_RATE] = NumericGetDatum(
			product->tax_rate.big != NULL ? product->tax_rate.big : money_to_numeric(product->tax_rate, 2));

	if (answer->reason != PRICE_FOUND)
	{
		nulls[QUOTE_LIST_PRICE] = nulls[QUOTE_UNIT_PRICE] = nulls[QUOTE_LINE_TOTAL] = true;
		nulls[QUOTE_PRICE_LIST] = nulls[QUOTE_TAX_INCLUSIVE] = true;
		nulls[QUOTE_UNIT_NET] = nulls[QUOTE_UNIT_GROSS] = true;
		values[QUOTE_REASON] = PointerGetDatum(price_reason_text(question, answer->reason));
		return;
	}
	nulls[QUOTE_REASON] = true;
	values[QUOTE_LIST_PRICE] = amount_datum(question, answer->list_price);
	values[QUOTE_UNIT_PRICE] = like_datum(question, answer->unit_price, answer->list_price, values[QUOTE_LIST_PRICE]);
	values[QUOTE_LINE_TOTAL] = like_datum(question, answer->line_total, answer->unit_price, values[QUOTE_UNIT_PRICE]);
	values[QUOTE_PRICE_LIST] = PointerGetDatum(answer->list->code_text);
	values[QUOTE_TAX_INCLUSIVE] = BoolGetDatum(answer->list->tax_inclusive);
	tax_values(question, answer, values);
	if (!answer->uniform)
	{
		nulls[QUOTE_UNIT_PRICE] = nulls[QUOTE_UNIT_NET] = nulls[QUOTE_UNIT_GROSS] = true;
		nulls[QUOTE_REASON] = false;
		values[QUOTE_REASON] = CStringGetTextDatum("its units cost different prices: see line_total");
	}
}

/*
 * price_question_arguments fills what quote() and its kin are asked but product and quantity, and but closed:
 * customer_id is argument 0; currency, at and coupons are the argument named first and the two after it.
 */
void
price_question_arguments(FunctionCallInfo fcinfo, int first, PriceRules *rules, PriceQuestion *question)
{
	bool has_customer = !PG_ARGISNULL(0);

	question->rules = rules;
	question->at = price_at_argument(fcinfo, first + 1);
	question->currency = price_currency_argument(fcinfo, first, rules);
	question->audience = customer_argument(fcinfo, 0, rules, question->at, question->unseen, &question->audience_until);
	if (!PG_ARGISNULL(first + 2))
		question->opened =
			coupons_open(rules, PG_GETARG_ARRAYTYPE_P(first + 2), has_customer, has_customer ? PG_GETARG_INT64(0) : 0,
						 question->at, question->unseen, &question->audience_until);
}

/* Does the same where argument 0 is segments. */
static void
segments_question(FunctionCallInfo fcinfo, int first, PriceRules *rules, PriceQuestion *question)
{
	question->rules = rules;
	question->at = price_at_argument(fcinfo, first + 1);
	question->currency = price_currency_argument(fcinfo, first, rules);
	question->audience = price_segments_argument(fcinfo, 0, rules);
	question->audience_until = DT_NOEND;
	if (!PG_ARGISNULL(first + 2))
		question->opened = coupons_open(rules, PG_GETARG_ARRAYTYPE_P(first + 2), false, 0, question->at, NULL,
										&question->audience_until);
}

/* Returns whether a promotion with a limit for each customer can concern one of the products. */
static bool
limits_concern(const PriceQuestion *question, const Product **products, int nproducts)
{
	const PriceRules *rules = question->rules;

	if (rules->customer_limits == NULL)
		return false;
	for (int i = 0; i < nproducts; i++)
		for (int j = 0; products[i] != NULL && j < products[i]->npromotions; j++)
			if (BIT_TEST(rules->customer_limits, products[i]->promotions[j]) &&
				BIT_TEST(question->audience->promotions, products[i]->promotions[j]))
				return true;
	return false;
}

/*
 * price_ask fills a question by the arguments of a function, all but the quantity, and finds the products asked about.
 *
 * All of it is of one moment: where rules, segments or prices were told of a change meanwhile it is found anew, unless
 * there is no end of changes. Begins a call that holds it: end it with config_caches_release(). Raises what quote()
 * raises.
 */
void
price_ask(FunctionCallInfo fcinfo, PriceAsker asker, int first, PriceQuestion *question, text **codes, int ncodes,
		  const Product **products)
{
	PriceRules *rules;

	config_caches_hold();
	for (int attempt = 0; attempt < 10; attempt++)
	{
		uint64 moved = config_caches_moved();
		bool limited;

		rules = price_rules_get();
		if (asker == ASKER_CUSTOMER)
			price_question_arguments(fcinfo, first, rules, question);
		else
			segments_question(fcinfo, first, rules, question);
		products_get(rules, codes, ncodes, products);
		limited = asker == ASKER_CUSTOMER && !PG_ARGISNULL(0) && limits_concern(question, products, ncodes);
		question->closed = limited ? promotions_closed(rules, PG_GETARG_INT64(0), question->at, question->unseen,
													   &question->closed_until)
								   : NULL;
		if (config_caches_stand(moved, limited || question->opened != NULL))
			break;
	}
	for (int i = 0; i < ncodes; i++)
		if (products[i] == NULL)
			price_unknown_product(codes[i]);
}

/* Answers for one product as a price_quote. */
static Datum
quote_one(FunctionCallInfo fcinfo, PriceAsker asker)
{
	text *code;
	PriceQuestion question = {0};
	TupleDesc desc;
	PriceAnswer answer;
	Datum values[QUOTE_COLUMNS];
	bool nulls[QUOTE_COLUMNS];
	Datum quote;

	/* Without tables no argument is right. */
	(void) company_get();
	code = price_text_argument(fcinfo, 1, "product");
	question.quantity = price_quantity_argument(fcinfo, 2);
	price_ask(fcinfo, asker, 3, &question, &code, 1, &question.product);
	price_resolve(&question, &answer, NULL);
	price_quote_values(&question, &answer, PG_GETARG_DATUM(2), values, nulls);
	desc = lookup_type_cache(get_func_rettype(fcinfo->flinfo->fn_oid), TYPECACHE_TUPDESC)->tupDesc;
	quote = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	config_caches_release();
	return quote;
}

/* quote(customer_id, product, quantity, currency, at, coupons): returns the price for a customer. */
Datum
omnichannel_quote(PG_FUNCTION_ARGS)
{
	return quote_one(fcinfo, ASKER_CUSTOMER);
}

/*
 * quote_segments(segments, product, quantity, currency, at, coupons): returns the price for customers in these
 * segments.
 */
Datum
omnichannel_quote_segments(PG_FUNCTION_ARGS)
{
	return quote_one(fcinfo, ASKER_SEGMENTS);
}

/* quote_put adds an answer to a set of price_quote, formed in a place that the next one takes. */
void
quote_put(ReturnSetInfo *result, RowForm *form, const PriceQuestion *question, const PriceAnswer *answer,
		  Datum quantity)
{
	Datum values[QUOTE_COLUMNS];
	bool nulls[QUOTE_COLUMNS];

	price_quote_values(question, answer, quantity, values, nulls);
	row_put(form, result->setResult, result->setDesc, values, nulls);
}

/* Products that a page answers for as of one moment; what is more is answered part by part, for the memory's sake. */
#define PAGE_PRODUCTS 20000

/*
 * quotes_put answers for these products, in this order, by the arguments of a function; see price_question_arguments().
 */
void
quotes_put(FunctionCallInfo fcinfo, int first, Datum quantity, const Datum *codes, const bool *nulls, int ncodes)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext passing = AllocSetContextCreate(CurrentMemoryContext, "omnichannel quotes", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(passing);

	for (int start = 0; start == 0 || start < ncodes; start += PAGE_PRODUCTS)
	{
		PriceQuestion question = {.quantity = price_quantity(DatumGetNumeric(quantity))};
		RowForm form = {0};
		int n = Min(ncodes - start, PAGE_PRODUCTS);
		const Product **products = palloc(Max(n, 1) * sizeof(Product *));
		text **wanted = palloc(Max(n, 1) * sizeof(text *));

		for (int i = 0; i < n; i++)
		{
			if (nulls != NULL && nulls[start + i])
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("products must not contain NULL"),
						 errhint("Leave the element out.")));
			wanted[i] = DatumGetTextPP(codes[start + i]);
		}
		price_ask(fcinfo, ASKER_CUSTOMER, first, &question, wanted, n, products);
		for (int i = 0; i < n; i++)
		{
			PriceAnswer answer;

			CHECK_FOR_INTERRUPTS();
			question.product = products[i];
			price_resolve(&question, &answer, NULL);
			quote_put(result, &form, &question, &answer, quantity);
		}
		config_caches_release();
		MemoryContextReset(passing);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(passing);
}

/*
 * quotes(customer_id, products, quantity, currency, at, coupons): returns a row for each product, in the order given.
 */
Datum
omnichannel_quotes(PG_FUNCTION_ARGS)
{
	Datum *codes;
	bool *nulls;
	int ncodes;

	init_materialized_srf(fcinfo);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("products must not be NULL"),
				 errhint("Pass an array of products.")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &codes, &nulls, &ncodes);
	(void) price_quantity_argument(fcinfo, 2);
	quotes_put(fcinfo, 3, PG_GETARG_DATUM(2), codes, nulls, ncodes);
	return (Datum) 0;
}
