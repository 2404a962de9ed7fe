/*
 * skill_set.c
 *	  The type skill_set: text and binary form, order, hash, containment and what is inside.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "routing/skill_set.h"

SQL_FUNCTION(omnichannel_skill_set_in);
SQL_FUNCTION(omnichannel_skill_set_out);
SQL_FUNCTION(omnichannel_skill_set_recv);
SQL_FUNCTION(omnichannel_skill_set_send);
SQL_FUNCTION(omnichannel_skill_set_eq);
SQL_FUNCTION(omnichannel_skill_set_ne);
SQL_FUNCTION(omnichannel_skill_set_lt);
SQL_FUNCTION(omnichannel_skill_set_le);
SQL_FUNCTION(omnichannel_skill_set_gt);
SQL_FUNCTION(omnichannel_skill_set_ge);
SQL_FUNCTION(omnichannel_skill_set_cmp);
SQL_FUNCTION(omnichannel_skill_set_hash);
SQL_FUNCTION(omnichannel_skill_set_hash_extended);
SQL_FUNCTION(omnichannel_skill_set_contains);
SQL_FUNCTION(omnichannel_skill_set_contained);
SQL_FUNCTION(omnichannel_skill_level);
SQL_FUNCTION(omnichannel_skills);

/* Of the binary form on the wire; the stored form follows. */
#define SKILL_SET_WIRE_VERSION 1

/* As much of a wrong input as a message shows. */
#define SHOWN_MAX 80

#define SKILL_SYNTAX_HINT "Write codes with levels from 1 to 10, as in 'billing:4, lang.pl:5'."

/* Returns the part of the text to show, cut between characters. */
static char *
shown_part(const char *text, size_t at, size_t length)
{
	int shown = pg_mbcliplen(text + at, (int) Min(length, (size_t) MaxAllocSize / 4), SHOWN_MAX);

	return pnstrdup(text + at, shown);
}

/* Returns the whole text, cut where it is too long for a message. */
static char *
shown_text(const char *text)
{
	size_t length = strlen(text);

	if (length <= SHOWN_MAX)
		return pstrdup(text);
	return psprintf("%s...", shown_part(text, 0, length));
}

/* Returns the sentence that says what is wrong with a part of a literal. */
static char *
skill_error_detail(SkillStatus status, const char *part)
{
	switch (status)
	{
		case SKILL_BAD_CODE:
			if (part[0] == '\0')
				return pstrdup("A skill's code is missing.");
			return psprintf(
				"\"%s\" is no skill's code: that begins with a letter and has letters, digits and _, joined by "
				"single dots or hyphens.",
				part);
		case SKILL_LONG_CODE:
			return psprintf("The skill's code \"%s\" has more than %d characters.", part, SKILL_CODE_MAX);
		case SKILL_BAD_LEVEL:
			return psprintf("The level in \"%s\" is no whole number from 1 to %d.", part, SKILL_LEVEL_MAX);
		case SKILL_NO_COMMA:
			return psprintf("A comma is missing before \"%s\".", part);
		case SKILL_TWICE:
			return psprintf("The skill \"%s\" is named twice.", part);
		case SKILL_TOO_MANY:
			return psprintf("There are more than %d skills.", SKILL_COUNT_MAX);
		default:
			return pstrdup("");
	}
}

/* Returns a new set of so many bytes, to be filled. */
static SkillSet *
skill_set_alloc(size_t size)
{
	SkillSet *set = palloc(VARHDRSZ + size);

	SET_VARSIZE(set, VARHDRSZ + size);
	return set;
}

/* Returns the set that the text says, or NULL after a soft error reported to context. */
static SkillSet *
skill_set_parse(const char *text, Node *context)
{
	SkillItem *items = palloc(SKILL_COUNT_MAX * sizeof(SkillItem));
	SkillError error;
	SkillStatus status;
	SkillSet *set;
	int count;

	status = skill_parse(text, strlen(text), items, &count, &error);
	if (status != SKILL_OK)
		ereturn(context, NULL,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%s\"", "skill_set", shown_text(text)),
				 errdetail("%s", skill_error_detail(status, shown_part(text, error.at, error.length))),
				 errhint(SKILL_SYNTAX_HINT)));

	set = skill_set_alloc(skill_encode(items, count, NULL));
	(void) skill_encode(items, count, SKILL_SET_BYTES(set));
	pfree(items);
	return set;
}

/* Returns the set that the text says; raises 22P02. */
SkillSet *
skill_set_from_text(const char *text)
{
	return skill_set_parse(text, NULL);
}

Datum
omnichannel_skill_set_in(PG_FUNCTION_ARGS)
{
	SkillSet *set = skill_set_parse(PG_GETARG_CSTRING(0), fcinfo->context);

	if (set == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(set);
}

Datum
omnichannel_skill_set_out(PG_FUNCTION_ARGS)
{
	SkillSet *set = PG_GETARG_SKILL_SET(0);
	char *text = palloc(SKILL_TEXT_MAX(SKILL_SET_SIZE(set)));

	(void) skill_format(SKILL_SET_BYTES(set), SKILL_SET_SIZE(set), text);
	PG_RETURN_CSTRING(text);
}

Datum
omnichannel_skill_set_recv(PG_FUNCTION_ARGS)
{
	StringInfo buffer = (StringInfo) PG_GETARG_POINTER(0);
	int version = pq_getmsgbyte(buffer);
	size_t size = (size_t) (buffer->len - buffer->cursor);
	const unsigned char *bytes;
	SkillError error;
	SkillSet *set;

	if (version != SKILL_SET_WIRE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("unsupported version %d of the binary form of type %s", version, "skill_set"),
				 errhint("Send the text form, or version %d.", SKILL_SET_WIRE_VERSION)));
	bytes = (const unsigned char *) pq_getmsgbytes(buffer, (int) size);
	if (skill_validate(bytes, size, &error) != SKILL_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of type %s at byte %zu", "skill_set", error.at + 1),
				 errdetail("Skills must be sorted by code, each once, with a level from 1 to %d.", SKILL_LEVEL_MAX),
				 errhint("Send the text form, as in 'billing:4, lang.pl:5'.")));

	set = skill_set_alloc(size);
	memcpy(SKILL_SET_BYTES(set), bytes, size);
	PG_RETURN_POINTER(set);
}

Datum
omnichannel_skill_set_send(PG_FUNCTION_ARGS)
{
	SkillSet *set = PG_GETARG_SKILL_SET(0);
	StringInfoData buffer;

	pq_begintypsend(&buffer);
	pq_sendbyte(&buffer, SKILL_SET_WIRE_VERSION);
	pq_sendbytes(&buffer, (char *) SKILL_SET_BYTES(set), (int) SKILL_SET_SIZE(set));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buffer));
}

/* Compares the two arguments of an operator, and frees what was detoasted: an index build calls this without end. */
static int
compare_arguments(FunctionCallInfo fcinfo)
{
	SkillSet *a = PG_GETARG_SKILL_SET(0);
	SkillSet *b = PG_GETARG_SKILL_SET(1);
	int order = skill_compare(SKILL_SET_BYTES(a), SKILL_SET_SIZE(a), SKILL_SET_BYTES(b), SKILL_SET_SIZE(b));

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return order;
}

Datum
omnichannel_skill_set_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_arguments(fcinfo));
}

Datum
omnichannel_skill_set_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) == 0);
}

Datum
omnichannel_skill_set_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) != 0);
}

Datum
omnichannel_skill_set_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) < 0);
}

Datum
omnichannel_skill_set_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) <= 0);
}

Datum
omnichannel_skill_set_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) > 0);
}

Datum
omnichannel_skill_set_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) >= 0);
}

Datum
omnichannel_skill_set_hash(PG_FUNCTION_ARGS)
{
	SkillSet *set = PG_GETARG_SKILL_SET(0);
	uint32 hash = DatumGetUInt32(hash_any(SKILL_SET_BYTES(set), (int) SKILL_SET_SIZE(set)));

	PG_FREE_IF_COPY(set, 0);
	PG_RETURN_UINT32(hash);
}

Datum
omnichannel_skill_set_hash_extended(PG_FUNCTION_ARGS)
{
	SkillSet *set = PG_GETARG_SKILL_SET(0);
	Datum hash = hash_any_extended(SKILL_SET_BYTES(set), (int) SKILL_SET_SIZE(set), (uint64) PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(set, 0);
	PG_RETURN_DATUM(hash);
}

Datum
omnichannel_skill_set_contains(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(skill_set_contains(PG_GETARG_SKILL_SET(0), PG_GETARG_SKILL_SET(1)));
}

Datum
omnichannel_skill_set_contained(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(skill_set_contains(PG_GETARG_SKILL_SET(1), PG_GETARG_SKILL_SET(0)));
}

/* skill_level(skill_set, text): the level of one skill, or NULL where the set has it not. */
Datum
omnichannel_skill_level(PG_FUNCTION_ARGS)
{
	SkillSet *set = PG_GETARG_SKILL_SET(0);
	text *code = PG_GETARG_TEXT_PP(1);
	int level = skill_find(SKILL_SET_BYTES(set), SKILL_SET_SIZE(set), VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code));

	if (level == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(level);
}

/* skills(skill_set): one row a skill, by code. */
Datum
omnichannel_skills(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	SkillItem item;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext caller;
		SkillSet *set;
		const unsigned char **range;

		call = SRF_FIRSTCALL_INIT();
		caller = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		call->tuple_desc = result_row(fcinfo);
		set = (SkillSet *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0));
		range = palloc(2 * sizeof(*range));
		range[0] = SKILL_SET_BYTES(set);
		range[1] = range[0] + SKILL_SET_SIZE(set);
		call->user_fctx = range;
		MemoryContextSwitchTo(caller);
	}

	call = SRF_PERCALL_SETUP();
	{
		const unsigned char **range = call->user_fctx;
		Datum values[2];
		bool nulls[2] = {false, false};

		if (!skill_next(&range[0], range[1], &item))
			SRF_RETURN_DONE(call);
		values[0] = PointerGetDatum(cstring_to_text_with_len(item.code, item.length));
		values[1] = Int32GetDatum(item.level);
		SRF_RETURN_NEXT(call, HeapTupleGetDatum(heap_form_tuple(call->tuple_desc, values, nulls)));
	}
}
