/*
 * identity.c
 *	  Who writes, calls or visits: identities in their normal form, and the customer that each belongs to.
 *
 * A customer made for an unknown identity is inserted by the statement that inserts the identity, and only if that
 * insert won: two sessions that meet the same unknown address at once get one customer, and none is left without an
 * identity. The foreign key between the two is checked when the statement ends, so the identity can go first.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"

#include "omnichannel.h"
#include "core/look.h"
#include "customer/address.h"
#include "customer/customer.h"

SQL_FUNCTION(omnichannel_calling_code);
SQL_FUNCTION(omnichannel_normalise_identity);
SQL_FUNCTION(omnichannel_identity_or_null);
SQL_FUNCTION(omnichannel_identify);
SQL_FUNCTION(omnichannel_customer_root);

/* An identity is the key of an index, whose rows must stay below a third of a page. */
#define IDENTITY_MAX 1000

typedef enum Normal
{
	NORMAL_EXACT,
	NORMAL_LOWER,
	NORMAL_EMAIL,
	NORMAL_PHONE
} Normal;

typedef struct IdentityKind
{
	char kind[64]; /* the hash key */
	Normal normal;
	text *pattern; /* that the whole normal form must match, or NULL */
} IdentityKind;

static void *identity_kind_build(ConfigCache *cache, MemoryContext context);

static ConfigCache identity_kind_cache = {
	.name = "identity_kind", .tables = {"identity_kind"}, .build = identity_kind_build};

static KeptPlan identity_kind_select = {
	.sql = "SELECT kind, normal_form, pattern FROM omnichannel.identity_kind",
};

static KeptPlan identity_select = {
	.sql = "SELECT customer_id FROM omnichannel.identity WHERE kind = $1 AND value = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.indexed = true,
};

static LookUp identity_look = {
	.table = "identity",
	.nkeys = 2,
	.ncolumns = 3,
	.columns = (const TableColumn[]){{"kind", TEXTOID}, {"value", TEXTOID}, {"customer_id", INT8OID}},
};

static KeptPlan identity_insert = {
	.sql = "WITH identified AS ("
		   " INSERT INTO omnichannel.identity (kind, value, customer_id)"
		   " VALUES ($1, $2, nextval('omnichannel.customer_customer_id_seq'))"
		   " ON CONFLICT (kind, value) DO NOTHING RETURNING customer_id)"
		   " INSERT INTO omnichannel.customer (customer_id) SELECT customer_id FROM identified RETURNING customer_id",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.indexed = true,
};

static KeptPlan customer_select = {
	.sql = "SELECT coalesce(merged_into, customer_id), erased_at IS NOT NULL FROM omnichannel.customer "
		   "WHERE customer_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

static KeptPlan customer_lock = {
	.sql = "SELECT erased_at IS NOT NULL FROM omnichannel.customer WHERE customer_id = $1 FOR KEY SHARE",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

static LookUp customer_look = {
	.table = "customer",
	.nkeys = 1,
	.ncolumns = 2,
	.columns = (const TableColumn[]){{"customer_id", INT8OID}, {"merged_into", INT8OID}},
};

static const char *const normal_names[] = {"exact", "lower", "email", "phone"};

/* Reads the kinds into a hash table. */
static void *
identity_kind_build(ConfigCache *cache, MemoryContext context)
{
	uint64 rows = kept_plan_run(&identity_kind_select, NULL, NULL, true, 0);
	HASHCTL control = {
		.keysize = sizeof(((IdentityKind *) NULL)->kind), .entrysize = sizeof(IdentityKind), .hcxt = context};
	HTAB *kinds =
		hash_create("omnichannel identity kinds", Max(rows, 16), &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);

	for (uint64 row = 0; row < rows; row++)
	{
		const char *normal = spi_text(row, 2, CurrentMemoryContext);
		const char *pattern = spi_text(row, 3, CurrentMemoryContext);
		IdentityKind *kind = hash_search(kinds, spi_text(row, 1, CurrentMemoryContext), HASH_ENTER, NULL);

		kind->normal = NORMAL_EXACT;
		for (int i = 0; i < (int) lengthof(normal_names); i++)
			if (strcmp(normal, normal_names[i]) == 0)
				kind->normal = (Normal) i;
		kind->pattern = NULL;
		if (pattern != NULL)
		{
			MemoryContext old = MemoryContextSwitchTo(context);

			kind->pattern = cstring_to_text(psprintf("^(?:%s)$", pattern));
			MemoryContextSwitchTo(old);
		}
	}
	return kinds;
}

/* Returns the kind, or NULL where there is none of this code. */
static const IdentityKind *
identity_kind_find(const char *code)
{
	HTAB *kinds = unconstify(void *, config_cache_get(&identity_kind_cache));
	IdentityKind *kind;

	return strlen(code) < sizeof(kind->kind) ? hash_search(kinds, code, HASH_FIND, NULL) : NULL;
}

/* Returns the kind; raises 23503 where there is none of this code. */
static const IdentityKind *
identity_kind_get(const char *code)
{
	const IdentityKind *kind = identity_kind_find(code);

	if (kind == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("identity kind \"%s\" does not exist", excerpt(code)),
				 errhint("The table omnichannel.identity_kind lists the kinds; insert a row for a new one.")));
	return kind;
}

/* Raises 23503 where there is no such kind. */
void
identity_kind_check(const char *kind)
{
	(void) identity_kind_get(kind);
}

/* What is wrong with a value that is none of its kind. */
typedef struct Refusal
{
	const char *problem;
	const char *hint;
} Refusal;

/* Returns NULL, having said why a value is none of its kind. */
static char *
refuse(Refusal *refusal, const char *problem, const char *hint)
{
	refusal->problem = problem;
	refusal->hint = hint;
	return NULL;
}

/*
 * Returns a text in lower case.
 *
 * A letter whose lower case is in ASCII, as those of U+0130 and U+212A are, stays as it is: who writes it is not who
 * writes the other. So do all letters in SQL_ASCII, of which nobody knows what they are.
 */
static char *
fold_case(const char *value)
{
	StringInfoData folded;

	initStringInfo(&folded);
	while (*value != '\0')
	{
		int length = pg_mblen(value);

		if (!IS_HIGHBIT_SET(*value))
			appendStringInfoChar(&folded, pg_ascii_tolower((unsigned char) *value));
		else
		{
			char *lower =
				GetDatabaseEncoding() == PG_SQL_ASCII ? NULL : str_tolower(value, length, DEFAULT_COLLATION_OID);

			if (lower != NULL && IS_HIGHBIT_SET(*lower))
				appendStringInfoString(&folded, lower);
			else
				appendBinaryStringInfo(&folded, value, length);
		}
		value += length;
	}
	return folded.data;
}

/* Returns a text in which each letter with its accents is one character, where it can be (Unicode NFC), in UTF-8. */
static char *
compose(const char *value)
{
	if (GetDatabaseEncoding() != PG_UTF8)
		return pstrdup(value);
	return TextDatumGetCString(
		DirectFunctionCall2(unicode_normalize_func, CStringGetTextDatum(value), CStringGetTextDatum("NFC")));
}

/* Returns whether a text is all ASCII. */
static bool
is_ascii(const char *value)
{
	while (*value != '\0' && !IS_HIGHBIT_SET(*value))
		value++;
	return *value == '\0';
}

/* Returns the normal form of a value in the current context, or NULL with the reason in refusal. */
static char *
normal_form(const IdentityKind *kind, const char *value, Refusal *refusal)
{
	bool converted = GetDatabaseEncoding() != PG_SQL_ASCII && GetDatabaseEncoding() != PG_UTF8 && !is_ascii(value);
	const char *problem = NULL;
	char email[EMAIL_SIZE];
	char phone[PHONE_SIZE];
	size_t start = 0;
	size_t length;
	char *normalised;

	/* Blanks and the dashes of numbers are known in UTF-8. */
	if (converted)
		value = pg_server_to_any(value, strlen(value), PG_UTF8);
	length = strlen(value);
	text_trim(value, &start, &length);
	if (length == start)
		return refuse(refusal, "is empty", "Pass NULL to log_contact() for a customer who is not known.");
	if (length - start > IDENTITY_MAX)
		return refuse(refusal, "is longer than 1000 bytes", "An identity is an address, not a text.");
	normalised = pnstrdup(value + start, length - start);

	switch (kind->normal)
	{
		case NORMAL_EXACT:
		case NORMAL_LOWER:
			break;
		case NORMAL_EMAIL:
			problem = email_address(normalised, length - start, email);
			if (problem != NULL)
				return refuse(refusal, problem, "Write it as in anna@example.com.");
			normalised = pstrdup(email);
			break;
		case NORMAL_PHONE:
		{
			const Company *company = company_get();
			const NumberingPlan *plan = numbering_plan(company->country);
			NumberingPlan home = {company->country, company->calling_code + 1, "", "", 0, 0};

			if (plan != NULL)
			{
				home = *plan;
				home.code = company->calling_code + 1;
			}
			problem = phone_normalise(normalised, length - start, &home, phone);
			if (problem != NULL)
				return refuse(
					refusal, problem,
					psprintf("Write it as in +%s601234567, an extension as in ;ext=12; without a plus it is a number "
							 "of country %s.",
							 home.code, home.country));
			normalised = pstrdup(phone);
			break;
		}
	}
	if (converted)
		normalised = pg_any_to_server(normalised, strlen(normalised), PG_UTF8);
	if (kind->normal == NORMAL_EMAIL && !is_ascii(normalised))
		normalised = compose(fold_case(compose(normalised)));
	else if (kind->normal != NORMAL_EXACT)
		normalised = fold_case(normalised);

	if (kind->pattern != NULL && !DatumGetBool(DirectFunctionCall2Coll(textregexeq, DEFAULT_COLLATION_OID,
																	   PointerGetDatum(cstring_to_text(normalised)),
																	   PointerGetDatum(kind->pattern))))
		return refuse(refusal, "does not match the pattern of its kind",
					  "The pattern stands in omnichannel.identity_kind.");
	return normalised;
}

/*
 * identity_normalise returns the form of value in which identities of this kind are compared, in the current context.
 *
 * Raises 23503 for an unknown kind and 22023 for an empty, overlong or malformed value.
 */
char *
identity_normalise(const char *kind, const char *value)
{
	Refusal refusal;
	char *normalised = normal_form(identity_kind_get(kind), value, &refusal);

	if (normalised == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s \"%s\" %s", kind, excerpt(value), refusal.problem),
						errhint("%s", refusal.hint)));
	return normalised;
}

/* Returns the customer to whom an identity is assigned, or 0. */
static int64
find_identity(Datum *values)
{
	return look_up_id(&identity_look, 2, &identity_select, values);
}

/*
 * customer_match returns the customer to whom an identity in its normal form was assigned, before merges.
 *
 * Makes one if there is none and create says so, else returns 0; found, if given, tells whether it was known. Needs an
 * SPI scope. Under REPEATABLE READ and SERIALIZABLE it raises 40001 where another transaction made the identity
 * meanwhile.
 */
int64
customer_match(const char *kind, const char *normalised, bool create, bool *found)
{
	Datum values[2] = {CStringGetTextDatum(kind), CStringGetTextDatum(normalised)};

	/* Whoever inserts at the same time is seen by the next look; an erasure in between asks for another round. */
	for (int round = 0;; round++)
	{
		int64 customer_id = find_identity(values);

		CHECK_FOR_INTERRUPTS();
		if (found != NULL)
			*found = customer_id != 0;
		if (customer_id != 0 || !create)
			return customer_id;
		if (round == INSERT_ROUNDS)
			rows_not_taken("identity");
		if (kept_plan_run(&identity_insert, values, NULL, false, 0) == 1)
			return spi_id(0, 1);
	}
}

/*
 * customer_root returns the customer that this one was merged into, or itself, or 0 where there is none.
 *
 * Needs an SPI scope; read_only looks under the active snapshot.
 */
static int64
customer_root(int64 customer_id, bool read_only)
{
	Datum values[1] = {Int64GetDatum(customer_id)};
	LookScan scan;
	int64 root = 0;

	if (look_begin(&scan, &customer_look, values, 1, read_only ? GetActiveSnapshot() : NULL))
	{
		Datum row[2];
		bool nulls[2];

		if (look_next(&scan, false, row, nulls))
			root = nulls[1] ? customer_id : DatumGetInt64(row[1]);
		look_end(&scan);
	}
	else if (kept_plan_run(&customer_select, values, NULL, read_only, 1) == 1)
		root = spi_id(0, 1);
	return root;
}

/*
 * customer_identify returns the customer (after merges) of an identity as written, or 0 where there is none.
 *
 * create makes a new customer of an unknown identity; found, if given, tells whether it was known. Needs an SPI scope.
 * Raises as identity_normalise() and customer_match() do.
 */
static int64
customer_identify(const char *kind, const char *value, bool create, bool *found)
{
	int64 customer_id = customer_match(kind, identity_normalise(kind, value), create, found);

	return customer_id == 0 ? 0 : customer_root(customer_id, false);
}

/* Returns whether a customer was erased; raises 23503 where there is none. Needs an SPI scope. */
bool
customer_is_erased(int64 customer_id)
{
	Datum values[1] = {Int64GetDatum(customer_id)};
	bool isnull;

	if (kept_plan_run(&customer_select, values, NULL, false, 1) != 1)
		customer_missing(customer_id);
	return DatumGetBool(spi_datum(0, 2, &isnull));
}

/*
 * customer_require returns if something can be recorded of a customer, who is not erased until the transaction ends.
 *
 * Raises 23503 where there is none and 55000 where it was erased. Needs an SPI scope.
 */
void
customer_require(int64 customer_id)
{
	Datum values[1] = {Int64GetDatum(customer_id)};
	bool isnull;

	if (kept_plan_run(&customer_lock, values, NULL, false, 1) != 1)
		customer_missing(customer_id);
	if (DatumGetBool(spi_datum(0, 1, &isnull)))
		customer_gone(customer_id);
}

/* Raises 23503: there is no such customer. */
void
customer_missing(int64 customer_id)
{
	ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
					errmsg("customer " INT64_FORMAT " does not exist", customer_id),
					errhint("identify('email', 'anna@example.com') returns the customer of an address.")));
}

/* Raises 55000: the customer was erased. */
void
customer_gone(int64 customer_id)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("customer " INT64_FORMAT " was erased", customer_id),
					errhint("Nothing personal is recorded of an erased customer; identify() makes a new one.")));
}

/* calling_code(country): returns the calling code with its plus, or NULL. */
Datum
omnichannel_calling_code(PG_FUNCTION_ARGS)
{
	const NumberingPlan *plan = numbering_plan(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	if (plan == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("+%s", plan->code)));
}

/* Returns an argument as a C string; raises 22023 for NULL. */
static char *
required_text(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must not be NULL", name),
						errhint("An identity is a kind and a value, as in identify('email', 'anna@example.com').")));
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

/* normalise_identity(kind, value): returns the form in which identities are compared. */
Datum
omnichannel_normalise_identity(PG_FUNCTION_ARGS)
{
	char *kind = required_text(fcinfo, 0, "kind");
	char *value = required_text(fcinfo, 1, "value");

	PG_RETURN_TEXT_P(cstring_to_text(identity_normalise(kind, value)));
}

/* identity_or_null(kind, value): returns the form in which identities are compared, or NULL for what is none. */
Datum
omnichannel_identity_or_null(PG_FUNCTION_ARGS)
{
	const IdentityKind *kind = PG_ARGISNULL(0) ? NULL : identity_kind_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	Refusal refusal;
	char *normalised = NULL;

	omni_table("identity_kind");
	if (kind != NULL && !PG_ARGISNULL(1))
		normalised = normal_form(kind, text_to_cstring(PG_GETARG_TEXT_PP(1)), &refusal);
	if (normalised == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(normalised));
}

/* identify(kind, value, create): returns the customer, or NULL where none is known and none shall be made. */
Datum
omnichannel_identify(PG_FUNCTION_ARGS)
{
	char *kind = required_text(fcinfo, 0, "kind");
	char *value = required_text(fcinfo, 1, "value");
	bool create = PG_ARGISNULL(2) || PG_GETARG_BOOL(2);
	SpiScope scope;
	int64 customer_id;

	spi_scope_begin(&scope, false);
	customer_id = customer_identify(kind, value, create, NULL);
	spi_scope_end(&scope);
	RETURN_ID(customer_id);
}

/* customer_root(customer_id): returns the customer that this one was merged into, or itself. */
Datum
omnichannel_customer_root(PG_FUNCTION_ARGS)
{
	SpiScope scope;
	int64 root;

	omni_table("customer");
	spi_scope_begin(&scope, false);
	root = customer_root(PG_GETARG_INT64(0), true);
	spi_scope_end(&scope);
	RETURN_ID(root);
}
