/* sources: src/pricing/money.c */
/*
 * money.c
 *	  Arithmetic of amounts against 128-bit integers, and numeric's stored form against a slow reader of it.
 *
 * numeric itself is not linked in: where an operation leaves the fast form it gets a mark instead, and must have had a
 * reason to, which is that 64 bits of eight decimals do not hold the exact result.
 */
#include "postgres.h"

#include "fmgr.h"

#include "pricing/money.h"
#include "fuzz.h"

/* NaN: a header that says special, and no digits. */
static struct
{
	int32 length;
	uint16 header;
} mark = {(VARHDRSZ + sizeof(uint16)) << 2, 0xC000};

/* What money.c asks of the server. */
void *
palloc(Size size)
{
	return malloc(size);
}

Datum
DirectFunctionCall1Coll(PGFunction function, Oid collation, Datum a)
{
	return PointerGetDatum(&mark);
}

Datum
DirectFunctionCall2Coll(PGFunction function, Oid collation, Datum a, Datum b)
{
	return PointerGetDatum(&mark);
}

struct varlena *
pg_detoast_datum(struct varlena *datum)
{
	return datum;
}

#define NEVER_CALLED(name)                                                                                             \
	Datum name(PG_FUNCTION_ARGS)                                                                                       \
	{                                                                                                                  \
		abort();                                                                                                       \
	}

NEVER_CALLED(numeric_abs)
NEVER_CALLED(numeric_add)
NEVER_CALLED(numeric_sub)
NEVER_CALLED(numeric_mul)
NEVER_CALLED(numeric_div)
NEVER_CALLED(numeric_div_trunc)
NEVER_CALLED(numeric_mod)
NEVER_CALLED(numeric_cmp)
NEVER_CALLED(numeric_eq)
NEVER_CALLED(numeric_round)
NEVER_CALLED(numeric_trunc)
NEVER_CALLED(int8_numeric)

static Money
amount(int64 ticks)
{
	return (Money){ticks, NULL};
}

/* The result is the exact one, or no 64 bits hold that. */
static void
check_exact(Money result, int128 exact)
{
	if (result.big == NULL)
		CHECK(result.ticks == exact);
	else
		CHECK(exact != (int64) exact);
}

/* Returns the quotient rounded to a whole number. */
static int128
divide_rounded(int128 dividend, int128 divisor, Rounding rounding)
{
	bool negative = (dividend < 0) != (divisor < 0);
	int128 n = dividend < 0 ? -dividend : dividend;
	int128 d = divisor < 0 ? -divisor : divisor;
	int128 quotient = n / d;
	int128 twice = n % d * 2;

	if (twice > d || (twice == d && (rounding == ROUND_HALF_UP || (rounding == ROUND_HALF_EVEN && quotient % 2 == 1))))
		quotient++;
	return negative ? -quotient : quotient;
}

static void
check_arithmetic(int64 a, int64 b, int decimals, Rounding rounding)
{
	int128 product = (int128) a * b;
	int64 step = 1;
	Money result;

	for (int i = decimals; i < MONEY_DECIMALS; i++)
		step *= 10;
	check_exact(money_add(amount(a), amount(b)), (int128) a + b);
	check_exact(money_subtract(amount(a), amount(b)), (int128) a - b);
	CHECK(money_compare(amount(a), amount(b)) == (a > b) - (a < b));
	result = money_multiply(amount(a), amount(b));
	if (product % MONEY_ONE == 0)
		check_exact(result, product / MONEY_ONE);
	else
		CHECK(result.big != NULL);
	check_exact(money_round(amount(a), decimals, rounding), divide_rounded(a, step, rounding) * step);
	if (b > 0)
		check_exact(money_round_to(amount(a), amount(b), rounding), divide_rounded(a, b, rounding) * b);
	if (b != 0)
		check_exact(money_divide_round(amount(a), amount(b), decimals, rounding),
					divide_rounded((int128) a * (MONEY_ONE / step), b, rounding) * step);
}

/* Reads a stored numeric slowly: digits of base 10,000, one after the other, in 128 bits. */
static void
check_stored(const uint8_t *data, size_t size)
{
	struct
	{
		int32 length;
		uint8_t bytes[64];
	} stored;
	size_t n = Min(size, sizeof(stored.bytes)) & ~(size_t) 1;
	int ndigits;
	int weight;
	bool negative;
	uint16 header;
	int16 digits[32];
	int128 exact = 0;
	bool fits = true;
	Money read;

	if (n < 4)
		return;
	memcpy(stored.bytes, data, n);
	memcpy(&header, stored.bytes, 2);
	if ((header & 0xC000) == 0xC000)
		return;
	if ((header & 0xC000) == 0x8000)
	{
		negative = (header & 0x2000) != 0;
		weight = (header & 0x40) != 0 ? (int) (header & 0x3F) - 64 : (int) (header & 0x3F);
		ndigits = (int) (n - 2) / 2;
		memcpy(digits, stored.bytes + 2, n - 2);
	}
	else
	{
		int16 stored_weight;

		negative = (header & 0xC000) == 0x4000;
		memcpy(&stored_weight, stored.bytes + 2, 2);
		weight = stored_weight % 64;
		stored_weight = (int16) weight;
		memcpy(stored.bytes + 2, &stored_weight, 2);
		ndigits = (int) (n - 4) / 2;
		memcpy(digits, stored.bytes + 4, n - 4);
	}
	/* As numeric stores them: digits in range, none of the outer ones zero. */
	for (int i = 0; i < ndigits; i++)
		digits[i] = (int16) ((uint16) digits[i] % 9999 + 1);
	memcpy(stored.bytes + n - ndigits * 2, digits, ndigits * 2);
	stored.length = (int32) (VARHDRSZ + n) << 2;

	/* Places from the first digit's down to 10^-8; digits below that need numeric. */
	for (int i = 0; i < ndigits && fits; i++)
	{
		int128 place = 1;

		if (weight - i < -2 || weight - i > 3)
			fits = false;
		for (int j = -2; fits && j < weight - i; j++)
			place *= 10000;
		exact += digits[i] * place;
	}
	fits = fits && exact == (int64) exact;
	read = money_from_numeric((Numeric) &stored);
	if (!fits)
	{
		CHECK(read.big != NULL);
		return;
	}
	CHECK(read.big == NULL);
	CHECK(read.ticks == (negative ? -(int64) exact : (int64) exact));
	if (read.ticks != 0)
	{
		Numeric written = money_to_numeric(read, MONEY_DECIMALS);
		Money again = money_from_numeric(written);

		CHECK(again.big == NULL && again.ticks == read.ticks);
		free(written);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int64 a;
	int64 b;

	check_stored(data, size);
	if (size < 18)
		return 0;
	memcpy(&a, data, 8);
	memcpy(&b, data + 8, 8);
	/* Small ones too, and the ends of the range. */
	a >>= data[16] & 63;
	b >>= data[17] & 63;
	if (a == PG_INT64_MIN)
		a++;
	if (b == PG_INT64_MIN)
		b++;
	for (int decimals = 0; decimals <= MONEY_DECIMALS; decimals += 2)
		for (Rounding rounding = ROUND_HALF_UP; rounding <= ROUND_HALF_DOWN; rounding++)
			check_arithmetic(a, b, decimals, rounding);
	return 0;
}
