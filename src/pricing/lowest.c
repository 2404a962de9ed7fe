/*
 * lowest.c
 *	  The prior price of Directive 98/6/EC, article 6a: the lowest price of the days before a reduction.
 *
 * Nothing is logged for it. The price of any past moment follows from the effective dates of lists, rows and
 * promotions, so the history is computed by asking the resolver at each moment at which the answer can have changed;
 * what is planned for tomorrow is known today. Days on which lists with tax and such without it were charged are
 * compared by what customers paid, with tax. Rules differ by country and are rows of omnibus_rule.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "pricing/pricing.h"

SQL_FUNCTION(omnichannel_lowest_price);

/* The price at a moment. */
typedef struct PriceState
{
	bool found;
	bool reduced; /* below the list price */
	Money price;  /* with tax, rounded */
} PriceState;

/* Moments at which the price can have changed, the latest first; none after the question's. */
typedef struct Moments
{
	TimestampTz *at;
	int n;
	int space;
} Moments;

static KeptPlan rules_select = {
	.sql = "SELECT country, lookback_days, progressive, perishables, services, new_products, personalised_exempt,"
		   " time_zone, coalesce(progressive_days, 0) FROM omnichannel.omnibus_rule",
};

/* Reads the rules of all countries. Needs an SPI scope. */
void
omnibus_read(PriceRules *rules)
{
	uint64 n = kept_plan_run(&rules_select, NULL, NULL, true, 0);

	code_map_init(&rules->omnibus, rules->context, (uint32) n);
	for (uint64 i = 0; i < n; i++)
	{
		OmnibusRule *rule = MemoryContextAllocZero(rules->context, sizeof(OmnibusRule));
		const char *country = spi_text(i, 1, rules->context);
		const char *perishables = spi_text(i, 4, CurrentMemoryContext);
		bool isnull;

		rule->lookback_days = DatumGetInt32(spi_datum(i, 2, &isnull));
		rule->progressive = DatumGetBool(spi_datum(i, 3, &isnull));
		rule->perishables_exempt = strcmp(perishables, "exempt") == 0;
		rule->perishables_first = strcmp(perishables, "before_first") == 0;
		rule->services = DatumGetBool(spi_datum(i, 5, &isnull));
		rule->new_exempt = strcmp(spi_text(i, 6, CurrentMemoryContext), "exempt") == 0;
		rule->personalised_exempt = DatumGetBool(spi_datum(i, 7, &isnull));
		rule->time_zone = spi_text(i, 8, rules->context);
		rule->progressive_days = DatumGetInt32(spi_datum(i, 9, &isnull));
		code_map_put(&rules->omnibus, country, strlen(country), rule);
	}
}

static void
moments_add(Moments *moments, TimestampTz at, TimestampTz latest)
{
	if (TIMESTAMP_NOT_FINITE(at) || at > latest)
		return;
	if (moments->n == moments->space)
	{
		moments->space = moments->space == 0 ? 32 : moments->space * 2;
		moments->at = moments->at == NULL ? palloc(moments->space * sizeof(TimestampTz))
										  : repalloc_huge(moments->at, moments->space * sizeof(TimestampTz));
	}
	moments->at[moments->n++] = at;
}

static int
compare_moments(const void *a, const void *b)
{
	TimestampTz left = *(const TimestampTz *) a;
	TimestampTz right = *(const TimestampTz *) b;

	return left > right ? -1 : left < right;
}

static void
moments_of_spans(const Spans *spans, Moments *moments, TimestampTz latest)
{
	for (int i = 0; i < spans->n; i++)
	{
		moments_add(moments, spans->spans[i].from, latest);
		moments_add(moments, spans->spans[i].until, latest);
	}
}

/* Adds the moments at which rows of a target, or their lists, begin or end. */
static void
moments_of_target(const PriceQuestion *question, const PriceTarget *target, Moments *moments)
{
	for (int i = 0; i < target->nrows; i++)
	{
		const PriceRow *row = &target->rows[i];
		const PriceList *list = &question->rules->lists[row->list];

		if (!BIT_TEST(question->audience->lists, row->list) || list->currency != question->currency)
			continue;
		moments_add(moments, row->valid.from, question->at);
		moments_add(moments, row->valid.until, question->at);
		moments_add(moments, list->valid.from, question->at);
		moments_add(moments, list->valid.until, question->at);
		moments_add(moments, list->active.from, question->at);
		moments_add(moments, list->active.until, question->at);
		moments_of_spans(&list->pauses, moments, question->at);
	}
}

/* Returns the moments at which the answer can have changed, the latest first, each once. */
static Moments
moments_collect(const PriceQuestion *question)
{
	const PriceRules *rules = question->rules;
	Moments moments = {NULL, 0, 0};
	int kept = 0;

	for (const Product *product = question->product; product != NULL; product = product->parent)
		moments_of_target(question, &product->target, &moments);
	if (question->product->wider->unasked != question->audience)
		for (const PriceTarget *target = question->product->wider; target != NULL; target = target->wider)
			moments_of_target(question, target, &moments);
	for (int i = 0; i < question->product->npromotions; i++)
	{
		const Promotion *promotion = &rules->promotions[question->product->promotions[i]];

		if (!BIT_TEST(question->audience->promotions, promotion->number))
			continue;
		moments_add(&moments, promotion->valid.from, question->at);
		moments_add(&moments, promotion->valid.until, question->at);
		moments_add(&moments, promotion->active.from, question->at);
		moments_add(&moments, promotion->active.until, question->at);
		moments_of_spans(&promotion->pauses, &moments, question->at);
		moments_of_spans(&promotion->used_up, &moments, question->at);
	}
	if (moments.n > 0)
		qsort(moments.at, moments.n, sizeof(TimestampTz), compare_moments);
	for (int i = 0; i < moments.n; i++)
		if (kept == 0 || moments.at[i] != moments.at[kept - 1])
			moments.at[kept++] = moments.at[i];
	moments.n = kept;
	return moments;
}

static PriceState
state_of(const PriceQuestion *question, const PriceAnswer *answer)
{
	PriceState state = {false};

	if (answer->reason != PRICE_FOUND)
		return state;
	state.found = answer->uniform;
	state.reduced = money_compare(answer->unit_price, answer->list_price) < 0;
	state.price = tax_amount_round(question->product, answer->unit_price, answer->list->tax_inclusive, true,
								   question->currency->decimals, question->rules->rounding);
	return state;
}

static PriceState
state_at(PriceQuestion question, TimestampTz at)
{
	PriceAnswer answer;

	question.at = at;
	price_resolve(&question, &answer, NULL);
	return state_of(&question, &answer);
}

/* Returns the state before moments->at[i], which is that at the moment before it in time. */
static PriceState
state_before(const PriceQuestion *question, const Moments *moments, int i)
{
	return state_at(*question, i + 1 < moments->n ? moments->at[i + 1] : moments->at[i] - 1);
}

/*
 * Returns the place in moments of the first cut of the price that a series began with at moments->at[start], and in
 * *before the state before it; start where there is none. What is not offered meanwhile is neither cut nor raised.
 */
static int
first_cut_after(const PriceQuestion *question, const Moments *moments, int start, PriceState *before)
{
	PriceState former = state_at(*question, moments->at[start]);

	for (int i = start - 1; i >= 0; i--)
	{
		PriceState state = state_at(*question, moments->at[i]);

		CHECK_FOR_INTERRUPTS();
		if (!state.found)
			continue;
		if (money_compare(state.price, former.price) < 0)
		{
			*before = former;
			return i;
		}
		former = state;
	}
	return start;
}

/* Returns local midnight so many days before the moment's own day. */
static TimestampTz
days_before(TimestampTz at, int days, const char *time_zone)
{
	pg_tz *zone = pg_tzset(time_zone);
	struct pg_tm tm;
	fsec_t fsec;
	int offset;
	TimestampTz result;

	if (zone == NULL || timestamp2tm(at, &offset, &tm, &fsec, NULL, zone) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("the day of %s in zone \"%s\" is not known", timestamptz_to_str(at), time_zone),
				 errhint("Correct time_zone in omnichannel.omnibus_rule.")));
	j2date(date2j(tm.tm_year, tm.tm_mon, tm.tm_mday) - days, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	offset = DetermineTimeZoneOffset(&tm, zone);
	if (tm2timestamp(&tm, 0, &offset, &result) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("%d days before %s are out of range", days, timestamptz_to_str(at)),
				 errhint("Ask for a later moment.")));
	return result;
}

/* Returns local midnight of the day from which on prices before a reduction count. */
static TimestampTz
lookback_start(const OmnibusRule *rule, TimestampTz since)
{
	OmnibusRule *known = unconstify(OmnibusRule *, rule);
	/* Many reductions begin together. */
	int place = (int) (murmurhash32((uint32) since) % KNOWN_REDUCTIONS);

	if (known->known_since[place] != since || known->known_from[place] == 0)
	{
		known->known_from[place] = days_before(since, rule->lookback_days, rule->time_zone);
		known->known_since[place] = since;
	}
	return known->known_from[place];
}

/*
 * Sets *before to the last state in which the product was offered before moments->at[i], from a moment on, and returns
 * the place of the moment that it lasted until.
 */
static int
offered_before(const PriceQuestion *question, const Moments *moments, int i, TimestampTz from, PriceState *before)
{
	*before = state_before(question, moments, i);
	while (!before->found && i + 1 < moments->n && moments->at[i + 1] > from)
	{
		CHECK_FOR_INTERRUPTS();
		*before = state_before(question, moments, ++i);
	}
	return i;
}

/*
 * Returns the place in moments of the start of the reduction in force, and in *before the state before it, or -1 where
 * the price was always this one.
 *
 * With whole_run a reduction lasts as long as the price is below the list price, and days on which the product is not
 * offered, fewer than the rule looks back, do not end it.
 */
static int
reduction_start(const PriceQuestion *question, const Moments *moments, const OmnibusRule *rule, PriceState now,
				bool whole_run, bool progressive, PriceState *before)
{
	for (int i = 0; i < moments->n; i++)
	{
		int start = i;
		int order;

		CHECK_FOR_INTERRUPTS();
		if (whole_run)
			i = offered_before(question, moments, i, lookback_start(rule, moments->at[i]), before);
		else
			*before = state_before(question, moments, i);
		if (!before->found || !before->reduced)
			return start;
		order = money_compare(before->price, now.price);
		/*
		 * A deeper cut is a reduction of its own, unless the rule lets a series count as one; so is any other change.
		 */
		if (!whole_run && order != 0 && !(progressive && order > 0))
			return i;
		now = *before;
	}
	return -1;
}

/*
 * Finds the lowest price from a moment on until moments->at[start], before which the state was the one given; returns
 * whether there was any.
 */
static bool
lowest_between(const PriceQuestion *question, const Moments *moments, TimestampTz from, int start, PriceState before,
			   Money *lowest)
{
	bool any = false;

	if (from >= moments->at[start])
		return false;
	for (int i = start + 1; i <= moments->n; i++)
	{
		TimestampTz at = i < moments->n ? Max(moments->at[i], from) : from;
		PriceState state = i == start + 1 ? before : state_at(*question, at);

		if (state.found && (!any || money_compare(state.price, *lowest) < 0))
		{
			*lowest = state.price;
			any = true;
		}
		/* This one was in force when the span began. */
		if (at == from)
			break;
	}
	return any;
}

/*
 * lowest_find fills the answer for a question whose product is known; coupons do not count.
 *
 * known is what price_resolve() makes of the question, or NULL. Allocates in the current context.
 */
void
lowest_find(const PriceQuestion *asked, const OmnibusRule *rule, bool personalised, const PriceAnswer *known,
			LowestAnswer *answer)
{
	PriceQuestion question = *asked;
	const Product *product = asked->product;
	bool first = rule->perishables_first && product->perishable;
	PriceState now;
	PriceState before;
	Moments moments;
	int start;
	PriceAnswer asked_now;

	memset(answer, 0, sizeof(LowestAnswer));
	answer->until = DT_NOEND;
	if (asked->opened != NULL || asked->closed != NULL)
		known = NULL;
	question.opened = NULL;
	question.closed = NULL;
	if (known == NULL)
	{
		price_resolve(&question, &asked_now, NULL);
		known = &asked_now;
	}
	now = state_of(&question, known);
	if (!now.found)
	{
		answer->reason = "it has no price";
		return;
	}
	answer->price = known->unit_price;
	answer->has_price = true;
	if (!now.reduced)
		answer->reason = "its price is not reduced";
	else if (personalised && rule->personalised_exempt)
		answer->reason = "reductions for one person are exempt";
	else if (product->perishable && rule->perishables_exempt)
		answer->reason = "goods that perish are exempt";
	else if (product->service && !rule->services)
		answer->reason = "services are exempt";
	if (answer->reason != NULL)
		return;

	moments = moments_collect(&question);
	start = reduction_start(&question, &moments, rule, now, first, rule->progressive, &before);

	/* What it was first offered at reduces nothing: a series that begins so begins with the first cut of that price. */
	if (start >= 0 && (first || rule->progressive) && !before.found &&
		(first ||
		 !lowest_between(&question, &moments, lookback_start(rule, moments.at[start]), start, before, &answer->lowest)))
		start = first_cut_after(&question, &moments, start, &before);
	if (start >= 0 && rule->progressive_days > 0 && !first)
	{
		/* After so many days of cuts each one counts by itself. */
		answer->until = days_before(moments.at[start], -(rule->progressive_days + 1), rule->time_zone);
		if (answer->until <= question.at)
		{
			answer->until = DT_NOEND;
			start = reduction_start(&question, &moments, rule, now, first, false, &before);
		}
	}
	if (start < 0)
	{
		answer->reason = "it was never offered at another price";
		return;
	}
	answer->since = moments.at[start];
	answer->from = lookback_start(rule, answer->since);
	if (first)
	{
		answer->found = before.found;
		answer->lowest = before.price;
	}
	else
	{
		if (rule->new_exempt && !state_at(question, answer->from).found)
		{
			answer->reason = "new products are exempt";
			return;
		}
		answer->found = lowest_between(&question, &moments, answer->from, start, before, &answer->lowest);
	}
	/* As the price of now is said; what was charged without tax comes out as it was. */
	if (answer->found)
		answer->lowest = tax_amount_round(product, answer->lowest, true, known->list->tax_inclusive,
										  question.currency->decimals, question.rules->rounding);
	if (!answer->found)
		answer->reason = "it was not offered in the days before the reduction";
}

/* Returns the percentage that may be claimed, cut to two decimals; not below zero. */
static Money
percent_claim(Money lowest, Money price)
{
	Money saving = money_subtract(lowest, price);
	Money percent;

	if (!money_positive(saving))
		return MONEY_ZERO;
	percent = money_divide(money_multiply(saving, money_of_int(100)), lowest);
	return money_round(money_subtract(percent, (Money){MONEY_ONE / 200, NULL}), 2, ROUND_HALF_UP);
}

/* lowest_price(product, currency, at, country, segments, quantity, personalised): returns the prior price. */
Datum
omnichannel_lowest_price(PG_FUNCTION_ARGS)
{
	PriceRules *rules = price_rules_get();
	PriceQuestion question = {.audience_until = DT_NOEND};
	const Product *product;
	const OmnibusRule *rule;
	LowestAnswer answer;
	Datum values[6] = {0};
	bool nulls[6] = {true, true, true, true, true, true};
	text *code = price_text_argument(fcinfo, 0, "product");
	const char *country = PG_ARGISNULL(3) ? pstrdup(company_get()->country) : text_to_cstring(PG_GETARG_TEXT_PP(3));

	config_caches_hold();
	question.at = price_at_argument(fcinfo, 2);
	question.quantity = price_quantity_argument(fcinfo, 5);
	for (int attempt = 0; attempt < 10; attempt++)
	{
		uint64 moved = config_caches_moved();

		question.rules = rules = price_rules_get();
		question.currency = price_currency_argument(fcinfo, 1, rules);
		question.audience = price_segments_argument(fcinfo, 4, rules);
		products_get(rules, &code, 1, &product);
		if (config_caches_stand(moved, false))
			break;
	}
	rule = code_map_get(&rules->omnibus, country, strlen(country));
	if (rule == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("no rule on price reductions is known for country \"%s\"", country),
				 errhint("Insert it into omnichannel.omnibus_rule, or ask for another country, as in 'EU'.")));
	if (product == NULL)
		price_unknown_product(code);
	question.product = product;
	lowest_find(&question, rule, !PG_ARGISNULL(6) && PG_GETARG_BOOL(6), NULL, &answer);

	if (answer.found)
	{
		values[0] = NumericGetDatum(money_to_numeric(answer.lowest, question.currency->decimals));
		values[4] = NumericGetDatum(money_to_numeric(percent_claim(answer.lowest, answer.price), 2));
		nulls[0] = nulls[4] = false;
	}
	if (answer.has_price)
	{
		values[1] = NumericGetDatum(money_to_numeric(answer.price, question.currency->decimals));
		nulls[1] = false;
	}
	if (answer.since != 0)
	{
		values[2] = TimestampTzGetDatum(answer.since);
		values[3] = TimestampTzGetDatum(answer.from);
		nulls[2] = nulls[3] = false;
	}
	if (answer.reason != NULL)
	{
		values[5] = CStringGetTextDatum(answer.reason);
		nulls[5] = false;
	}
	config_caches_release();
	return HeapTupleGetDatum(heap_form_tuple(result_row(fcinfo), values, nulls));
}
