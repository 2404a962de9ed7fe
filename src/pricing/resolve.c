/*
 * resolve.c
 *	  The price of a product for an audience, from what is in memory. Reads no table and allocates next to nothing.
 *
 * From the nearest target to the widest, each list that fits sends one row: its survivor. Survivors of base lists make
 * the list price, those of override and sale lists compete to replace it. Every order ends in the list's code, so that
 * the answer does not depend on the order in which rows were read. Lists with and without tax are compared by what the
 * product's rate makes of their amounts; the answer is that of the list that is charged. explain_quote() passes a
 * collector through the very same walk.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "pricing/pricing.h"

/* The row by which a list takes part. */
typedef struct Survivor
{
	const PriceList *list;
	const PriceTarget *target;
	const PriceRow *row;
	Money amount; /* not rounded yet */
	bool taxed;   /* amount contains the product's tax; it can also where the list's prices do not */
	PriceVerdict verdict;
} Survivor;

typedef struct Walk
{
	const PriceQuestion *question;
	PriceCollector *collector;
	PriceReason reason;
	TimestampTz until;
	bool thorough;   /* goes into lists that are for others too: somebody wants to know why */
	uint64 *decided; /* a bit for each list that has its survivor */
	Survivor *survivors;
	int nsurvivors;
	int space;
} Walk;

/* Notes a moment at which the answer can change. */
static inline void
walk_changes_at(Walk *walk, TimestampTz moment)
{
	if (moment > walk->question->at && moment < walk->until)
		walk->until = moment;
}

/* Remembers the reason that came nearest to a price. */
static inline void
walk_reason(Walk *walk, PriceReason reason)
{
	if (reason > walk->reason)
		walk->reason = reason;
}

static void
walk_add_survivor(Walk *walk, const PriceList *list, const PriceTarget *target, const PriceRow *row)
{
	if (walk->nsurvivors == walk->space)
	{
		Survivor *survivors = palloc(walk->space * 2 * sizeof(Survivor));

		memcpy(survivors, walk->survivors, walk->nsurvivors * sizeof(Survivor));
		walk->survivors = survivors;
		walk->space *= 2;
	}
	walk->survivors[walk->nsurvivors++] = (Survivor){list, target, row, row->amount, list->tax_inclusive, VERDICT_WON};
	BIT_SET(walk->decided, list->number);
}

/* Returns why a list takes no part, or VERDICT_WON where it does. */
static inline PriceVerdict
list_verdict(Walk *walk, const PriceList *list)
{
	const PriceQuestion *question = walk->question;

	if (list->active.until <= list->active.from)
		return VERDICT_STATUS;
	if (list->currency != question->currency)
		return VERDICT_CURRENCY;
	if (!BIT_TEST(question->audience->lists, list->number))
		return VERDICT_SEGMENT;
	walk_changes_at(walk, list->active.from);
	walk_changes_at(walk, list->active.until);
	if (!span_contains(&list->active, question->at) ||
		(unlikely(list->pauses.n > 0) && spans_contain(&list->pauses, question->at, &walk->until)))
		return VERDICT_STATUS;
	walk_changes_at(walk, list->valid.from);
	walk_changes_at(walk, list->valid.until);
	if (!span_contains(&list->valid, question->at))
		return VERDICT_LIST_WINDOW;
	return VERDICT_WON;
}

/*
 * Returns the reason that a list which takes no part gives. What holds only later gives none, and a list that was not
 * active then is nothing else: of the past one is told what one was told then.
 */
static PriceReason
list_reason(const Walk *walk, const PriceList *list, PriceVerdict verdict)
{
	TimestampTz at = walk->question->at;
	TimestampTz until = DT_NOEND;

	if (list->valid.from > at)
		return PRICE_NONE;
	if (!span_contains(&list->active, at) || spans_contain(&list->pauses, at, &until))
		return PRICE_NO_LIST;
	if (verdict == VERDICT_CURRENCY)
		return PRICE_NO_CURRENCY;
	return verdict == VERDICT_SEGMENT ? PRICE_NO_SEGMENT : PRICE_NO_TIME;
}

/* Notes when the reason changes that a list with prices which have begun gives for taking no part. */
static void
list_reason_changes(Walk *walk, const PriceList *list)
{
	walk_changes_at(walk, list->valid.from);
	walk_changes_at(walk, list->active.from);
	walk_changes_at(walk, list->active.until);
	(void) spans_contain(&list->pauses, walk->question->at, &walk->until);
}

/* Tells the collector of a row that takes no part. */
static inline void
walk_tell(Walk *walk, const PriceTarget *target, const PriceRow *row, PriceVerdict verdict)
{
	if (unlikely(walk->collector != NULL))
		walk->collector->row(walk->collector, target, row, verdict, row->adjusts ? NULL : &row->amount);
}

/* So many rows are a history, in which rows are looked for, not gone through. */
#define LONG_HISTORY 16

/*
 * Returns the first row from this one on that is of another list; with a moment, also of another quantity or begun by
 * then, as the rows of one quantity come with the latest start first.
 */
static const PriceRow *
skip_rows(const PriceRow *row, const PriceRow *end, const TimestampTz *at)
{
	const PriceRow *first = row;

	while (row < end)
	{
		const PriceRow *middle = row + (end - row) / 2;

		if (middle->list == first->list &&
			(at == NULL || (middle->valid.from > *at && money_compare(middle->min_quantity, first->min_quantity) == 0)))
			row = middle + 1;
		else
			end = middle;
	}
	return row;
}

/* Takes the rows of one target: one survivor for each list that has none yet. Returns whether any could take part. */
static bool
walk_target(Walk *walk, const PriceTarget *target)
{
	const PriceQuestion *question = walk->question;
	const PriceRow *row = target->rows;
	const PriceRow *end = row + target->nrows;
	const uint64 *for_audience = walk->thorough ? NULL : question->audience->lists;
	bool asked = false;

	while (row < end)
	{
		const PriceList *list;
		bool decided;
		PriceVerdict verdict;
		bool history = end - row > LONG_HISTORY && walk->collector == NULL;
		bool reasoned = false;               /* rows that have begun tell why there is no price */
		TimestampTz reasons_from = DT_NOEND; /* the others will then */

		if (for_audience != NULL && !BIT_TEST(for_audience, row->list))
		{
			row = history ? skip_rows(row, end, NULL) : row + 1;
			continue;
		}
		asked = true;
		list = &question->rules->lists[row->list];
		decided = BIT_TEST(walk->decided, row->list);
		verdict = list_verdict(walk, list);

		/* The rows of a list come with the highest quantity first, and of one quantity with the latest start. */
		for (; row < end && row->list == list->number; row++)
		{
			bool begun;

			if (history && (decided || (verdict != VERDICT_WON && !walk->thorough)))
			{
				row = skip_rows(row, end, NULL);
				break;
			}
			if (history && row->valid.from > question->at)
				row = skip_rows(row, end, &question->at) - 1;
			begun = row->valid.from <= question->at;
			if (verdict != VERDICT_WON)
			{
				walk_tell(walk, target, row, verdict);
				if (!begun)
					reasons_from = Min(reasons_from, row->valid.from);
				else if (walk->thorough)
				{
					walk_reason(walk, list_reason(walk, list, verdict));
					reasoned = true;
					if (history)
					{
						row = skip_rows(row, end, NULL);
						break;
					}
				}
				continue;
			}
			if (money_compare(row->min_quantity, question->quantity) > 0)
			{
				if (begun)
				{
					walk_reason(walk, PRICE_NO_QUANTITY);
					reasoned = true;
				}
				else
					reasons_from = Min(reasons_from, row->valid.from);
				walk_tell(walk, target, row, VERDICT_QUANTITY);
				continue;
			}
			if (decided)
			{
				walk_tell(walk, target, row, VERDICT_NEARER_ROW);
				continue;
			}
			walk_changes_at(walk, row->valid.from);
			walk_changes_at(walk, row->valid.until);
			if (!span_contains(&row->valid, question->at))
			{
				if (begun)
					walk_reason(walk, PRICE_NO_TIME);
				walk_tell(walk, target, row, VERDICT_WINDOW);
				continue;
			}
			walk_add_survivor(walk, list, target, row);
			decided = true;
		}
		if (walk->thorough && !reasoned)
			walk_changes_at(walk, reasons_from);
		else if (walk->thorough && verdict != VERDICT_WON)
			list_reason_changes(walk, list);
	}
	return asked;
}

/*
 * Takes the rows of a category, of those above it and for everything; remembers from which of them on none are for the
 * audience. What categories have in common is then gone through for one of them.
 */
static void
walk_wider(Walk *walk, PriceTarget *first)
{
	const AudienceSet *audience = walk->question->audience;
	PriceTarget *target = first;
	PriceTarget *unasked = NULL;

	for (; target != NULL && (target->unasked != audience || walk->thorough); target = target->wider)
	{
		if (walk_target(walk, target))
			unasked = NULL;
		else if (unasked == NULL)
			unasked = target;
	}
	if (audience->kept && !walk->thorough)
		for (; unasked != NULL && unasked != target; unasked = unasked->wider)
			unasked->unasked = audience;
}

/* Compares what two survivors come to: both with tax, where one is. */
static inline int
survivor_compare(const PriceQuestion *question, const Survivor *a, const Survivor *b)
{
	const Product *product = question->product;

	if (likely(a->taxed == b->taxed))
		return money_compare(a->amount, b->amount);
	return money_compare(tax_amount(product, a->amount, a->taxed, true),
						 tax_amount(product, b->amount, b->taxed, true));
}

/* Returns whether a comes before b, and why. */
static bool
survivor_before(const PriceQuestion *question, const Survivor *a, const Survivor *b, PriceVerdict *why)
{
	int order;

	if (a->list->priority != b->list->priority)
	{
		*why = VERDICT_LOST_PRIORITY;
		return a->list->priority > b->list->priority;
	}
	order = survivor_compare(question, a, b);
	if (order != 0)
	{
		*why = VERDICT_LOST_AMOUNT;
		return order < 0;
	}
	*why = VERDICT_LOST_ID;
	return a->list->number < b->list->number;
}

/* Returns the first of two, of which best may be NULL; the other one has lost. */
static Survivor *
survivor_choose(const PriceQuestion *question, Survivor *best, Survivor *survivor)
{
	PriceVerdict why;

	if (best == NULL)
		return survivor;
	if (survivor_before(question, survivor, best, &why))
	{
		best->verdict = why;
		return survivor;
	}
	survivor->verdict = why;
	return best;
}

/*
 * Computes what a row that adjusts makes of the base price; never below zero.
 *
 * Where the base price contains tax and the list's prices do not, the amount keeps it: what is divided now would be
 * rounded twice.
 */
static void
survivor_adjust(const PriceQuestion *question, Survivor *survivor, const Survivor *base)
{
	const Product *product = question->product;
	const PriceAdjustment *adjustment = survivor->row->adjusts;
	bool listed_with_tax = survivor->list->tax_inclusive;
	bool taxed = base->taxed || listed_with_tax;
	Money amount = money_add(money_multiply(tax_amount(product, base->amount, base->taxed, taxed), adjustment->factor),
							 tax_amount(product, adjustment->surcharge, listed_with_tax, taxed));

	if (money_positive(adjustment->round_to))
	{
		Money step = tax_amount(product, adjustment->round_to, listed_with_tax, taxed);

		amount = money_multiply(money_divide_round(amount, step, 0, question->rules->rounding), adjustment->round_to);
		taxed = listed_with_tax;
	}
	survivor->amount = money_greatest(amount, MONEY_ZERO);
	survivor->taxed = taxed;
}

/* Chooses among the survivors; sets the base and the winner, NULL where there is none. */
static void
walk_choose(Walk *walk, Survivor **base, Survivor **winner)
{
	const PriceQuestion *question = walk->question;

	*base = NULL;
	*winner = NULL;
	for (int i = 0; i < walk->nsurvivors; i++)
		if (walk->survivors[i].list->kind == LIST_BASE && walk->survivors[i].row->adjusts == NULL)
			*base = survivor_choose(question, *base, &walk->survivors[i]);

	for (int i = 0; i < walk->nsurvivors; i++)
	{
		Survivor *survivor = &walk->survivors[i];

		if (survivor->list->kind == LIST_BASE && survivor->row->adjusts == NULL)
			continue;
		/* A base list cannot adjust; where one came past the triggers that see to it, nothing is not what it costs. */
		if (survivor->list->kind == LIST_BASE ||
			(*base == NULL && (survivor->row->adjusts || survivor->list->kind == LIST_SALE)))
		{
			survivor->verdict = VERDICT_NO_BASE;
			walk_reason(walk, PRICE_NO_BASE);
			continue;
		}
		if (survivor->row->adjusts)
			survivor_adjust(question, survivor, *base);
		if (survivor->list->kind == LIST_SALE && survivor_compare(question, survivor, *base) >= 0)
		{
			survivor->verdict = VERDICT_NOT_LOWER;
			continue;
		}
		*winner = survivor_choose(question, *winner, survivor);
	}
}

/* Takes the rows of all targets, anew. */
static void
walk_all(Walk *walk, int words)
{
	const Product *product = walk->question->product;

	memset(walk->decided, 0, words * sizeof(uint64));
	walk->nsurvivors = 0;
	for (const Product *above = product; above != NULL; above = above->parent)
		(void) walk_target(walk, &above->target);
	walk_wider(walk, product->wider);
}

/* price_resolve answers the question. Allocates in the current context where amounts or rows are many. */
void
price_resolve(const PriceQuestion *question, PriceAnswer *answer, PriceCollector *collector)
{
	const PriceRules *rules = question->rules;
	int words = Max(BIT_WORDS(rules->nlists), 1);
	uint64 few_decided[32];
	Survivor few_survivors[16];
	Walk walk = {question, collector, PRICE_NONE, question->audience_until};
	Survivor *base;
	Survivor *winner;

	walk.decided = words <= (int) lengthof(few_decided) ? few_decided : palloc(words * sizeof(uint64));
	walk.survivors = few_survivors;
	walk.space = lengthof(few_survivors);
	walk.thorough = collector != NULL;
	walk_all(&walk, words);
	walk_choose(&walk, &base, &winner);
	if (base == NULL && winner == NULL && !walk.thorough)
	{
		/* Why there is no price, the lists for others may tell. */
		walk.thorough = true;
		walk_all(&walk, words);
		walk_choose(&walk, &base, &winner);
	}
	if (winner != NULL && base != NULL)
		base->verdict = VERDICT_LIST_PRICE;
	if (unlikely(collector != NULL))
		for (int i = 0; i < walk.nsurvivors; i++)
		{
			const Survivor *survivor = &walk.survivors[i];
			Money amount =
				tax_amount(question->product, survivor->amount, survivor->taxed, survivor->list->tax_inclusive);

			collector->row(collector, survivor->target, survivor->row, survivor->verdict, &amount);
		}

	memset(answer, 0, sizeof(PriceAnswer));
	answer->valid_until = walk.until;
	if (base != NULL || winner != NULL)
	{
		const Survivor *listed = winner != NULL && winner->list->kind == LIST_OVERRIDE ? winner : base;
		const Survivor *charged = winner != NULL ? winner : base;
		const Product *product = question->product;

		answer->reason = PRICE_FOUND;
		answer->base = listed->list;
		answer->list = charged->list;
		answer->row = charged->row;
		answer->amounts_with_tax = rules->amounts_tax_inclusive >= 0 ? rules->amounts_tax_inclusive
								   : base != NULL                    ? base->list->tax_inclusive
																	 : charged->list->tax_inclusive;
		answer->reckons_with_tax = product->has_tax_rate ? charged->taxed || listed->taxed || answer->amounts_with_tax
														 : charged->list->tax_inclusive;
		promotions_apply(
			question, answer, tax_amount(product, charged->amount, charged->taxed, answer->reckons_with_tax),
			tax_amount(product, listed->amount, listed->taxed, answer->reckons_with_tax), &walk.until, collector);
		answer->valid_until = walk.until;
	}
	else
		answer->reason = walk.reason;
}
