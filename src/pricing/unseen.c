/*
 * unseen.c
 *	  quote_unseen(): a price as those saw it who could not see some changes yet, or before customers were merged.
 *
 * A change of prices counts from the start of its transaction, and others see it from its commit on. Meanwhile they see
 * what others have changed and committed, so that what they are answered is the state of no moment at all. It can be
 * made again, though, as whatever a change wrote begins or ends at its moment: without what begins then, and with what
 * ends then. This file makes copies of the rules and of one product of which that is so, and asks the same engine.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "pricing/pricing.h"

SQL_FUNCTION(omnichannel_quote_unseen);

/* Returns whether this is the moment of a change that was not seen. */
static bool
is_unseen(const Unseen *unseen, TimestampTz moment)
{
	for (int i = 0; i < unseen->n; i++)
		if (unseen->moments[i] == moment)
			return true;
	return false;
}

/* span_without returns the time of a row as it was without the changes; what a change began is never. */
Span
span_without(const Unseen *unseen, Span span)
{
	if (is_unseen(unseen, span.from))
		return (Span){DT_NOEND, DT_NOEND};
	if (is_unseen(unseen, span.until))
		span.until = DT_NOEND;
	return span;
}

/* Returns spans, which can overlap, as they were without the changes. */
static Spans
spans_without(const Unseen *unseen, const Spans *spans)
{
	Spans kept = {spans->n, palloc(Max(spans->n, 1) * sizeof(Span))};

	for (int i = 0; i < spans->n; i++)
	{
		Span *span = &kept.spans[i];

		*span = spans->spans[i];
		if (is_unseen(unseen, span->from))
			span->until = span->from;
		else if (is_unseen(unseen, span->until))
			span->until = DT_NOEND;
	}
	return spans_merged(&kept, CurrentMemoryContext);
}

/* Returns a copy of the rules without the changes, for price_resolve() only. */
static const PriceRules *
rules_without(const Unseen *unseen, const PriceRules *rules)
{
	PriceRules *kept = palloc(sizeof(PriceRules));

	*kept = *rules;
	kept->lists = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(Max(rules->nlists, 1), sizeof(PriceList)));
	for (int i = 0; i < rules->nlists; i++)
	{
		PriceList *list = &kept->lists[i];

		*list = rules->lists[i];
		list->valid = span_without(unseen, list->valid);
		list->active = span_without(unseen, list->active);
		list->pauses = spans_without(unseen, &list->pauses);
	}
	kept->promotions =
		MemoryContextAllocHuge(CurrentMemoryContext, mul_size(Max(rules->npromotions, 1), sizeof(Promotion)));
	for (int i = 0; i < rules->npromotions; i++)
	{
		Promotion *promotion = &kept->promotions[i];

		*promotion = rules->promotions[i];
		promotion->valid = span_without(unseen, promotion->valid);
		promotion->active = span_without(unseen, promotion->active);
		promotion->pauses = spans_without(unseen, &promotion->pauses);
		promotion->used_up = spans_without(unseen, &promotion->noted);
	}
	return kept;
}

/* Gives a copy of a target the rows that were there without the changes. */
static void
target_without(const Unseen *unseen, PriceTarget *target)
{
	const PriceRow *rows = target->rows;
	int nrows = target->nrows;

	target->rows = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(Max(nrows, 1), sizeof(PriceRow)));
	target->nrows = 0;
	for (int i = 0; i < nrows; i++)
		if (!is_unseen(unseen, rows[i].valid.from))
		{
			target->rows[target->nrows] = rows[i];
			target->rows[target->nrows++].valid = span_without(unseen, rows[i].valid);
		}
}

/* Returns a copy of a product, with all that it is linked to, without the changes. */
static const Product *
product_without(const Unseen *unseen, const Product *product)
{
	Product *kept = palloc(sizeof(Product));
	PriceTarget **wider = &kept->wider;

	*kept = *product;
	kept->reference = NULL;
	target_without(unseen, &kept->target);
	if (product->parent != NULL)
		kept->parent = unconstify(Product *, product_without(unseen, product->parent));
	for (const PriceTarget *target = product->wider; target != NULL; target = target->wider)
	{
		*wider = palloc(sizeof(PriceTarget));
		**wider = *target;
		target_without(unseen, *wider);
		wider = &(*wider)->wider;
	}
	return kept;
}

/*
 * quote_unseen(customer_id, product, quantity, currency, at, coupons, unseen, customers): returns the price as quote()
 * would without the changes of transactions that began at these moments, where these were one with the customer.
 */
Datum
omnichannel_quote_unseen(PG_FUNCTION_ARGS)
{
	PriceQuestion question = {0};
	Unseen unseen = {0};
	PriceAnswer answer;
	Datum values[QUOTE_COLUMNS];
	bool nulls[QUOTE_COLUMNS];
	Datum *moments;
	text *code;
	Datum quote;

	(void) company_get();
	code = price_text_argument(fcinfo, 1, "product");
	question.quantity = price_quantity_argument(fcinfo, 2);
	if (PG_ARGISNULL(6) || array_contains_nulls(PG_GETARG_ARRAYTYPE_P(6)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unseen must not be or hold NULL"),
				 errhint("Pass the moments at which the transactions began.")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(6), TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &moments, NULL, &unseen.n);
	unseen.moments = palloc(Max(unseen.n, 1) * sizeof(TimestampTz));
	for (int i = 0; i < unseen.n; i++)
		unseen.moments[i] = DatumGetTimestampTz(moments[i]);
	if (!PG_ARGISNULL(7))
		unseen.customers = PG_GETARG_DATUM(7);
	question.unseen = &unseen;
	price_ask(fcinfo, ASKER_CUSTOMER, 3, &question, &code, 1, &question.product);
	question.rules = rules_without(&unseen, question.rules);
	question.product = product_without(&unseen, question.product);
	price_resolve(&question, &answer, NULL);
	price_quote_values(&question, &answer, PG_GETARG_DATUM(2), values, nulls);
	quote = HeapTupleGetDatum(heap_form_tuple(result_row(fcinfo), values, nulls));
	config_caches_release();
	return quote;
}
