/*
 * pricing.h
 *	  What the files of this room share: price rules, products with their prices, and questions with their answers.
 *
 * rules.c keeps lists, segments and currencies; load.c keeps products with their prices, and members.c customers'
 * segments, both filled on demand; resolve.c answers from these in memory; quote.c is what SQL sees.
 */
#ifndef OMNICHANNEL_PRICING_H
#define OMNICHANNEL_PRICING_H

#include "datatype/timestamp.h"
#include "utils/array.h"
#include "utils/rangetypes.h"

#include "omnichannel.h"
#include "core/form.h"
#include "pricing/codes.h"
#include "pricing/hoard.h"
#include "pricing/money.h"

/* A half-open span of time. */
typedef struct Span
{
	TimestampTz from;  /* DT_NOBEGIN: always was */
	TimestampTz until; /* DT_NOEND: for ever */
} Span;

static inline bool
span_contains(const Span *span, TimestampTz at)
{
	return span->from <= at && at < span->until;
}

/* Spans in order of time that do not touch. */
typedef struct Spans
{
	int n;
	Span *spans;
} Spans;

/* Returns a value of a variable length that is neither compressed nor elsewhere; its header may be short. */
static inline const struct varlena *
packed_value(Datum value)
{
	const struct varlena *packed = (const struct varlena *) DatumGetPointer(value);

	if (likely(!VARATT_IS_COMPRESSED(packed) && !VARATT_IS_EXTERNAL(packed)))
		return packed;
	return PG_DETOAST_DATUM_PACKED(value);
}

/* Returns whether a value of a variable length has a short header, as nearly all have that are short in a row. */
static inline bool
is_short(Datum value)
{
	return VARATT_IS_1B(DatumGetPointer(value)) && !VARATT_IS_1B_E(DatumGetPointer(value));
}

extern Span span_from_any(Datum range);
/* Returns the span of a tstzrange. Mostly it has no other bounds than [ and ), and is read without a call. */
static inline Span
span_from_range(Datum range)
{
	const char *data = DatumGetPointer(range);
	const char *bound = VARDATA_1B(data) + sizeof(Oid);
	Span span = {DT_NOBEGIN, DT_NOEND};
	uint8 flags;

	if (unlikely(!is_short(range)))
		return span_from_any(range);
	flags = (uint8) data[VARSIZE_1B(data) - 1];
	if (unlikely((flags & (RANGE_EMPTY | RANGE_UB_INC)) != 0 || (flags & (RANGE_LB_INC | RANGE_LB_INF)) == 0))
		return span_from_any(range);
	if (RANGE_HAS_LBOUND(flags))
	{
		memcpy(&span.from, bound, sizeof(TimestampTz));
		bound += sizeof(TimestampTz);
	}
	if (RANGE_HAS_UBOUND(flags))
		memcpy(&span.until, bound, sizeof(TimestampTz));
	return span;
}

extern bool spans_contain(const Spans *spans, TimestampTz at, TimestampTz *until);
extern Spans spans_merged(const Spans *spans, MemoryContext context);

typedef struct Currency
{
	const char *code;
	text *code_text;
	int decimals;
} Currency;

typedef enum ListKind
{
	LIST_BASE,
	LIST_OVERRIDE,
	LIST_SALE
} ListKind;

typedef enum ListStatus
{
	STATUS_DRAFT,
	STATUS_APPROVED,
	STATUS_ACTIVE,
	STATUS_RETIRED
} ListStatus;

/* For whom: in one of any (or any is empty), and in each of all. */
typedef struct Audience
{
	int nany;
	int nall;
	int *any;
	int *all;
} Audience;

typedef struct PriceList
{
	const char *code;
	text *code_text;
	int number; /* in byte order of the codes: the last tie-breaker */
	ListKind kind;
	ListStatus status;
	int priority;
	const Currency *currency;
	Audience audience;
	Span valid;
	Span active;  /* from when to when its status was active */
	Spans pauses; /* within which it was not */
	bool tax_inclusive;
} PriceList;

typedef enum PromotionKind
{
	PROMOTION_PERCENT,
	PROMOTION_AMOUNT,
	PROMOTION_FIXED_PRICE,
	PROMOTION_BUY_GET,
	PROMOTION_ORDER_PERCENT,
	PROMOTION_ORDER_AMOUNT
} PromotionKind;

/* Codes of products, categories or brands. */
typedef struct Codes
{
	int n;
	text **codes;
} Codes;

typedef struct Promotion
{
	const char *code;
	text *code_text;
	Datum alone; /* a text[] of its code only */
	int number;  /* in byte order of the codes: the last tie-breaker */
	PromotionKind kind;
	ListStatus status;
	Money value; /* money, or a factor: 0.15 for 15 % */
	bool has_cap;
	Money cap;
	int buy_quantity;
	int get_quantity;
	bool has_max_units;
	Money max_units;
	const Currency *currency; /* NULL: any */
	Codes products;
	Codes categories;
	Codes brands;
	Codes except_products;
	Codes except_categories;
	Codes except_brands;
	Audience audience;
	Money min_quantity;
	Money min_subtotal;
	bool needs_coupon;
	int stage;
	int priority;
	bool exclusive;
	bool stop;
	const char *best_of;
	Span valid;
	Span active;
	Spans pauses;
	Spans used_up; /* when nothing was left of it */
	Spans noted;   /* of which sessions noted that, ordered by their starts: they can overlap */
} Promotion;

#define KNOWN_REDUCTIONS 16

/* How a country compares a reduced price. */
typedef struct OmnibusRule
{
	int lookback_days;
	bool progressive;     /* a series of ever deeper cuts counts as one reduction */
	int progressive_days; /* for so many days from its first cut; 0: without a limit */
	bool perishables_exempt;
	bool perishables_first; /* of goods that perish: the price before the first cut */
	bool services;          /* holds for services too */
	bool new_exempt;
	bool personalised_exempt;
	const char *time_zone;
	TimestampTz known_since[KNOWN_REDUCTIONS]; /* starts of reductions that were asked about last */
	TimestampTz known_from[KNOWN_REDUCTIONS];  /* when the days before each begin; 0: none was asked about */
} OmnibusRule;

typedef struct LowestAnswer
{
	bool found;
	bool has_price;
	Money lowest;
	Money price;
	TimestampTz since;
	TimestampTz from;
	TimestampTz until;  /* the passing of time alone changes the answer then; DT_NOEND: never */
	const char *reason; /* why there is none */
} LowestAnswer;

/* Which lists or promotions a segment can open. */
typedef struct AudienceIndex
{
	uint64 *for_all; /* a bit for each that is for everyone */
	int *starts;     /* of each segment, and the end of the last one: places in numbers */
	int *numbers;
} AudienceIndex;

typedef struct PriceRules
{
	MemoryContext context;
	uint64 generation; /* of the cache: whatever was derived from another one's is void */
	CodeMap segments;  /* to its number, see segment_find() */
	int nsegments;
	CodeMap currencies;    /* to Currency */
	CodeMap lists_by_code; /* to its number, see price_list_find() */
	int nlists;
	PriceList *lists;
	CodeMap omnibus;                 /* of country to OmnibusRule */
	const OmnibusRule *omnibus_rule; /* of the company's country, or NULL */
	int npromotions;
	Promotion *promotions;
	CodeMap promotions_of_product; /* to List of Promotion */
	CodeMap promotions_of_category;
	CodeMap promotions_of_brand;
	List *promotions_of_all;
	uint64 *sparing;         /* a bit for each promotion that is not for all of its targets */
	uint64 *customer_limits; /* a bit for each promotion with a limit for each customer; NULL: none has */
	uint64 *customer_zeros;  /* a bit for each with a limit of zero */
	const Currency *company_currency;
	ArrayType *no_promotions; /* an empty text[] */
	Rounding rounding;
	int amounts_tax_inclusive; /* of products and promotions; -1: as the base price's list */
	uint64 used_up_generation; /* of what the promotions' used_up was taken from */
	uint64 stamp;              /* another one once anything has changed that is not kept with the rules themselves */
	AudienceIndex list_audiences;
	AudienceIndex promotion_audiences;
	int naudiences;
	struct AudienceSet **audiences; /* a hash table of the sets met so far */
} PriceRules;

/* A set of segments, and which lists are for it. */
typedef struct AudienceSet
{
	bool kept;
	uint32 hash;
	int nsegments;
	int *segments; /* ascending, without repeats */
	uint64 *lists; /* a bit for each */
	uint64 *promotions;
} AudienceSet;

#define BIT_WORDS(n) (((n) + 63) / 64)
#define BIT_TEST(words, n) (((words)[(unsigned) (n) / 64] >> ((unsigned) (n) % 64)) & 1)
#define BIT_SET(words, n) ((words)[(unsigned) (n) / 64] |= UINT64CONST(1) << ((unsigned) (n) % 64))

/* What a row makes of the base price. */
typedef struct PriceAdjustment
{
	Money factor;
	Money surcharge;
	Money round_to; /* zero: not rounded */
} PriceAdjustment;

/* One row of price. */
typedef struct PriceRow
{
	int64 id;
	int list;
	const PriceAdjustment *adjusts; /* instead of an amount, or NULL */
	Money min_quantity;
	Money amount;
	Span valid;
} PriceRow;

/*
 * The prices of one target: a product, a category or everything. Rows are in order of list, then min_quantity and
 * start, both descending. wider leads from a category to the one above it, and from the highest to everything.
 */
typedef struct PriceTarget
{
	const char *code;
	uint32 length;
	uint32 hash; /* of a product's code */
	int nrows;
	PriceRow *rows;
	struct PriceTarget *wider;
	const List *promotions;            /* that name this category */
	const struct AudienceSet *unasked; /* one for which neither it nor what is wider has a row, or NULL */
} PriceTarget;

typedef struct Product
{
	PriceTarget target; /* first: what the map finds is both */
	struct Product *parent;
	PriceTarget *wider; /* the deepest category, own or inherited, or everything */
	text *code_text;
	const char *parent_code;
	const char *category;
	const char *brand;
	const Currency *min_price_currency; /* NULL where the rules do not know it yet */
	const Currency *cost_currency;
	bool has_min_price;
	bool has_cost;
	bool perishable;
	bool service;
	bool inherited; /* from the ancestors */
	bool inheriting;
	bool has_min_margin;
	bool has_tax_rate;
	int npromotions;
	int *promotions;                  /* the numbers of those that can concern it, ascending */
	struct ReferencePrice *reference; /* the one found last, or NULL */
	Hoard *hoard;                     /* that it lies in while it is kept; NULL: it is for one answer */
	Money min_margin;
	Money min_price;
	Money cost;
	Money tax_rate;
} Product;

/* The prior price found last for a product, and the question that it answers. */
typedef struct ReferencePrice
{
	uint64 stamp; /* of the rules */
	const AudienceSet *audience;
	const Currency *currency;
	int64 quantity;
	Span valid;
	bool found;
	Money price;
} ReferencePrice;

/* The moments of changes that those who were answered could not see yet, and who were one with the customer then. */
typedef struct Unseen
{
	int n;
	TimestampTz *moments;
	Datum customers; /* bigint[]; no Datum: whoever is now */
} Unseen;

/* A question. */
typedef struct PriceQuestion
{
	const PriceRules *rules;
	const Product *product;
	const AudienceSet *audience;
	TimestampTz audience_until; /* when the customer's segments, or what coupons open, change next */
	const Currency *currency;
	Money quantity;
	TimestampTz at;
	const uint64 *opened;     /* promotions for which there is a coupon; NULL: none */
	const uint64 *closed;     /* promotions that the customer may not use again; NULL: none */
	TimestampTz closed_until; /* when that changes next, where there are any */
	const Unseen *unseen;     /* for the audience and uses; NULL: nothing was */
	const Money *others;      /* what the rest of the basket costs before promotions; NULL: there is no basket */
	bool basket_with_tax;     /* whether others, and what is asked of the basket, contain tax */
} PriceQuestion;

/* Who asks: argument 0 is a customer_id, or segments. */
typedef enum PriceAsker
{
	ASKER_CUSTOMER,
	ASKER_SEGMENTS
} PriceAsker;

/* So many units of a line at this price. */
typedef struct Portion
{
	Money quantity;
	Money price;
} Portion;

typedef enum PriceReason
{
	PRICE_FOUND,
	PRICE_NONE,    /* no list has a price for the product that has begun */
	PRICE_NO_LIST, /* only lists that are not active */
	PRICE_NO_CURRENCY,
	PRICE_NO_SEGMENT,
	PRICE_NO_TIME,
	PRICE_NO_QUANTITY,
	PRICE_NO_BASE /* only lists that change a base price */
} PriceReason;

/* An answer. */
typedef struct PriceAnswer
{
	PriceReason reason;
	const PriceList *base; /* whose price list_price is */
	const PriceList *list; /* whose price unit_price is */
	const PriceRow *row;
	bool amounts_with_tax; /* whether what the product and promotions say contains it */
	bool reckons_with_tax; /* what is not rounded yet contains it, even where list's prices do not */
	int npromotions;
	const Promotion **promotions; /* that changed the price, in order */
	bool ended;                   /* an exclusive or stopping one allows no more */
	bool uniform;                 /* all units cost unit_price */
	Money before_promotions;      /* the line, as the lists make it */
	Money floor;                  /* of one unit; rounded, as all below */
	Money list_price;
	Money unit_price;
	Money line_total;
	TimestampTz valid_until;
} PriceAnswer;

/* What became of a candidate. */
typedef enum PriceVerdict
{
	VERDICT_WON,
	VERDICT_LIST_PRICE, /* the base price that another list changes */
	VERDICT_LOST_PRIORITY,
	VERDICT_LOST_AMOUNT,
	VERDICT_LOST_ID,
	VERDICT_NOT_LOWER,
	VERDICT_NO_BASE,
	VERDICT_NEARER_ROW,
	VERDICT_STATUS,
	VERDICT_LIST_WINDOW,
	VERDICT_WINDOW,
	VERDICT_SEGMENT,
	VERDICT_QUANTITY,
	VERDICT_CURRENCY,
	VERDICT_APPLIED,
	VERDICT_NO_CHANGE,
	VERDICT_EXCLUSIVE,
	VERDICT_ENDED,
	VERDICT_BEST_OF,
	VERDICT_COUPON,
	VERDICT_USED_UP,
	VERDICT_CUSTOMER_LIMIT,
	VERDICT_SUBTOTAL,
	VERDICT_ORDER,
	VERDICT_FLOOR
} PriceVerdict;

/* Told of each candidate where one asks for an explanation; NULL otherwise. */
typedef struct PriceCollector
{
	void (*row)(struct PriceCollector *collector, const PriceTarget *target, const PriceRow *row, PriceVerdict verdict,
				const Money *amount);
	void (*promotion)(struct PriceCollector *collector, const Promotion *promotion, PriceVerdict verdict,
					  const Promotion *by, const Money *price);
	void (*floor)(struct PriceCollector *collector, const Money *floor);
} PriceCollector;

/* omnichannel.price_cache, in kB: what a session keeps of products, their prices and customers' segments. */
extern int price_cache_size;

/* rules.c */
extern PriceRules *price_rules_get(void);
extern const AudienceSet *audience_get(PriceRules *rules, int *segments, int nsegments, bool *kept);
extern text *spi_keep_text(uint64 row, int column, MemoryContext context);
extern Numeric keep_numeric(Datum value, MemoryContext context);
extern Money spi_keep_money(uint64 row, int column, MemoryContext context, bool *present);
extern int numbers_sort(int *numbers, int n);
extern bool numbers_contain(const int *numbers, int n, int wanted);
extern int *spi_keep_segments(PriceRules *rules, uint64 row, int column, int *count);
extern ListStatus list_status(const char *name);
extern Span keep_active(Datum active, MemoryContext context, Spans *pauses);
extern const Currency *currency_find(const PriceRules *rules, const text *currency);

/* Returns the number of a segment, or -1 where it is not known. */
static inline int
segment_find(const PriceRules *rules, const text *segment)
{
	void *number = code_map_get(&rules->segments, VARDATA_ANY(segment), VARSIZE_ANY_EXHDR(segment));

	return (int) (uintptr_t) number - 1;
}

/* Does the same for a value of a row. */
static inline int
segment_find_value(const PriceRules *rules, Datum segment)
{
	const char *code = DatumGetPointer(segment);

	if (unlikely(!is_short(segment)))
		return segment_find(rules, (const text *) packed_value(segment));
	return (int) (uintptr_t) code_map_get(&rules->segments, VARDATA_1B(code), VARSIZE_1B(code) - VARHDRSZ_SHORT) - 1;
}

/* Returns a numeric value as an amount kept in context; *present tells whether there is one. */
static inline Money
keep_money(Datum value, bool isnull, MemoryContext context, bool *present)
{
	Money money;

	*present = !isnull;
	if (isnull)
		return MONEY_ZERO;
	money = money_from_numeric((Numeric) packed_value(value));
	if (unlikely(money.big != NULL))
		money.big = keep_numeric(value, context);
	return money;
}

/* promotions.c */
extern void promotions_read(PriceRules *rules);
extern bool promotions_take_used_up(PriceRules *rules);
extern const List *promotions_of_category(const PriceRules *rules, const char *path, uint32 length);
extern void promotions_of(const PriceRules *rules, struct Product *product, Hoard *hoard);
extern bool promotion_concerns(const Promotion *promotion, const struct Product *product);
extern uint64 *coupons_open(PriceRules *rules, ArrayType *coupons, bool has_customer, int64 customer_id, TimestampTz at,
							const Unseen *unseen, TimestampTz *until);
extern uint64 *promotions_closed(PriceRules *rules, int64 customer_id, TimestampTz at, const Unseen *unseen,
								 TimestampTz *until);

/* apply.c */
extern int promotions_compare(const Promotion *left, const Promotion *right);
extern PriceVerdict promotion_verdict(const PriceQuestion *question, const Promotion *promotion, Money subtotal,
									  TimestampTz *until);
extern void promotions_apply(const PriceQuestion *question, PriceAnswer *answer, Money price, Money list_price,
							 TimestampTz *until, PriceCollector *collector);

/* lowest.c */
extern void omnibus_read(PriceRules *rules);
extern void lowest_find(const PriceQuestion *asked, const OmnibusRule *rule, bool personalised,
						const PriceAnswer *known, LowestAnswer *answer);

/* load.c */
extern void reference_keep(const Product *product, const ReferencePrice *reference);
extern void products_get(PriceRules *rules, text **codes, int ncodes, const Product **products);
extern struct PriceCache *products_hold(PriceRules *rules);
extern void products_get_held(struct PriceCache *cache, PriceRules *rules, text **codes, int ncodes,
							  const Product **products);
extern void products_link(struct PriceCache *cache, PriceRules *rules, Product **products, int nproducts, Hoard *hoard);

/* Products answered for at a time: enough to share the work, few enough not to outgrow the cache. */
#define PRODUCTS_AT_A_TIME 200

/* unseen.c */
extern Span span_without(const Unseen *unseen, Span span);

/* members.c */
extern const AudienceSet *customer_audience(PriceRules *rules, int64 customer_id, TimestampTz at, const Unseen *unseen,
											TimestampTz *until);

/* Returns what an amount without tax is multiplied by, of a product that has a tax rate. */
static inline Money
tax_factor(const Product *product)
{
	return money_add(money_of_int(1), money_multiply(product->tax_rate, (Money){MONEY_ONE / 100, NULL}));
}

/* Returns an amount said with or without the product's tax as the other way would say it; not rounded. */
static inline Money
tax_amount(const Product *product, Money amount, bool has_tax, bool with_tax)
{
	if (likely(has_tax == with_tax) || !product->has_tax_rate)
		return amount;
	return with_tax ? money_multiply(amount, tax_factor(product)) : money_divide(amount, tax_factor(product));
}

/* Does the same, rounded once. */
static inline Money
tax_amount_round(const Product *product, Money amount, bool has_tax, bool with_tax, int decimals, Rounding rounding)
{
	if (likely(has_tax == with_tax) || !product->has_tax_rate)
		return amount;
	return with_tax ? money_round(money_multiply(amount, tax_factor(product)), decimals, rounding)
					: money_divide_round(amount, tax_factor(product), decimals, rounding);
}

/* resolve.c */
extern void price_resolve(const PriceQuestion *question, PriceAnswer *answer, PriceCollector *collector);

/* The columns of price_quote. */
enum
{
	QUOTE_PRODUCT,
	QUOTE_QUANTITY,
	QUOTE_CURRENCY,
	QUOTE_LIST_PRICE,
	QUOTE_UNIT_PRICE,
	QUOTE_LINE_TOTAL,
	QUOTE_PRICE_LIST,
	QUOTE_PROMOTIONS,
	QUOTE_REFERENCE_PRICE,
	QUOTE_VALID_UNTIL,
	QUOTE_REASON,
	QUOTE_TAX_RATE,
	QUOTE_TAX_INCLUSIVE,
	QUOTE_UNIT_NET,
	QUOTE_UNIT_GROSS,
	QUOTE_COLUMNS
};

/* quote.c */
extern void price_quote_values(const PriceQuestion *question, const PriceAnswer *answer, Datum quantity, Datum *values,
							   bool *nulls);
extern Money price_quantity(Numeric value);
extern text *price_text_argument(FunctionCallInfo fcinfo, int number, const char *name);
extern Money price_quantity_argument(FunctionCallInfo fcinfo, int number);
extern const Currency *price_currency_argument(FunctionCallInfo fcinfo, int number, const PriceRules *rules);
extern TimestampTz price_at_argument(FunctionCallInfo fcinfo, int number);
extern const AudienceSet *price_segments_argument(FunctionCallInfo fcinfo, int number, PriceRules *rules);
extern void quotes_put(FunctionCallInfo fcinfo, int first, Datum quantity, const Datum *codes, const bool *nulls,
					   int ncodes);
extern void quote_put(ReturnSetInfo *result, RowForm *form, const PriceQuestion *question, const PriceAnswer *answer,
					  Datum quantity);
pg_noreturn extern void price_unknown_product(text *code);
extern text *price_reason_text(const PriceQuestion *question, PriceReason reason);
extern void price_question_arguments(FunctionCallInfo fcinfo, int first, PriceRules *rules, PriceQuestion *question);
extern void price_ask(FunctionCallInfo fcinfo, PriceAsker asker, int first, PriceQuestion *question, text **codes,
					  int ncodes, const Product **products);

#endif /* OMNICHANNEL_PRICING_H */
