/*
 * continued.c
 *	  Which of a customer's open requests a contact without a conversation continues.
 *
 * What is near in time is found by what is known here first: the log is asked for the last contact about a request only
 * where nothing else tells. What contacts at hand say that come before counts as if it were logged.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "contact/open_requests.h"

/* When the last contact was about a request, as of when or later; it may name any of those who were merged. */
static KeptPlan last_contact_select = {
	.sql = "SELECT max(c.occurred_at) FROM " ALL_WHO_ARE_ONE " "
		   "CROSS JOIN LATERAL (SELECT one.occurred_at FROM omnichannel.contact AS one "
		   "WHERE one.customer_id = g.customer_id AND one.occurred_at >= $3 AND one.request_id = $2 OFFSET 0) AS c",
	.nargs = 3,
	.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	.indexed = true,
};

/* Whether a contact of that time went into a request, perhaps opened later; it may name any of the merged. */
static KeptPlan begun_select = {
	.sql = "SELECT FROM " ALL_WHO_ARE_ONE " "
		   "CROSS JOIN LATERAL (SELECT FROM omnichannel.contact AS one WHERE one.customer_id = g.customer_id "
		   "AND one.occurred_at BETWEEN $3 AND $4 AND one.request_id = $2 AND one.direction = 'inbound' LIMIT 1) AS c",
	.nargs = 4,
	.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	.indexed = true,
};

/* What a customer or those who are one with it said about requests, as channels_follow in conversation.c has it. */
#define SAID(when)                                                                                                     \
	"FROM " ALL_WHO_ARE_ONE " "                                                                                        \
	"CROSS JOIN LATERAL (SELECT one.channel, one.occurred_at, one.contact_id FROM omnichannel.contact AS one "         \
	"JOIN omnichannel.channel AS h USING (channel) WHERE one.customer_id = g.customer_id AND one.direction = "         \
	"'inbound' AND one.outcome <> 'failed' AND h.opens_request AND one.occurred_at " when                              \
	" ORDER BY one.occurred_at DESC, one.contact_id DESC LIMIT 1) AS c "                                               \
	"ORDER BY c.occurred_at DESC, c.contact_id DESC LIMIT 1"

/* Whether anything was said later. */
static KeptPlan later_select = {
	.sql = "SELECT " SAID("> $2 AND one.request_id IS NOT NULL"),
	.nargs = 2,
	.argtypes = {INT8OID, TIMESTAMPTZOID},
	.indexed = true,
};

/* In which channel something was said about a request by then. */
static KeptPlan channel_then_select = {
	.sql = "SELECT c.channel, c.occurred_at " SAID("<= $2 AND one.request_id = $3"),
	.nargs = 3,
	.argtypes = {INT8OID, TIMESTAMPTZOID, INT8OID},
	.indexed = true,
};

/* When something was said about a request last, of what was said later. */
static KeptPlan said_select = {
	.sql = "SELECT c.occurred_at " SAID("> $2 AND one.request_id = $3"),
	.nargs = 3,
	.argtypes = {INT8OID, TIMESTAMPTZOID, INT8OID},
	.indexed = true,
};

/* Whether a request was opened by a contact that names no conversation. */
static KeptPlan loose_select = {
	.sql = "SELECT FROM omnichannel.contact AS c WHERE c.customer_id = $1 AND c.occurred_at = $2 AND c.request_id = $3"
		   " AND c.direction = 'inbound' AND c.thread IS NULL",
	.nargs = 3,
	.argtypes = {INT8OID, TIMESTAMPTZOID, INT8OID},
	.indexed = true,
};

/* Returns when a request had its last contact or change of state, as far as since. */
static TimestampTz
last_moved_at(OpenRequest *request, TimestampTz since)
{
	Datum values[3] = {Int64GetDatum(request->customer_id), Int64GetDatum(request->request_id),
					   TimestampTzGetDatum(since)};
	bool isnull;
	TimestampTz last;

	if (request->asked_since <= since || request->opens != NULL)
		return request->moved_at;
	request->asked_since = since;
	(void) kept_plan_run(&last_contact_select, values, NULL, false, 0);
	last = DatumGetTimestampTz(spi_datum(0, 1, &isnull));
	if (!isnull)
		request->moved_at = Max(request->moved_at, last);
	SPI_freetuptable(SPI_tuptable);
	return request->moved_at;
}

/*
 * Returns whether a contact is near enough in time to a request to be about it. The log is asked last: a request that
 * moved just now needs no look.
 */
static bool
is_near(OpenRequest *request, const ContactEntry *entry, const Channel *channel)
{
	TimestampTz since = entry->occurred_at - channel->conversation_gap;

	if (request->opened_at > entry->occurred_at + channel->conversation_gap)
		return false;
	return request->moved_at >= since || last_moved_at(request, since) >= since;
}

/* Returns whether a request, or what went into it as if it had been opened by that, was there at the contact's time. */
static bool
had_begun(const OpenRequest *request, const ContactEntry *entry, const Channel *channel)
{
	TimestampTz since = request->opened_at - channel->conversation_gap;
	Datum values[4] = {Int64GetDatum(request->customer_id), Int64GetDatum(request->request_id),
					   TimestampTzGetDatum(since), TimestampTzGetDatum(entry->occurred_at)};

	return request->opened_at <= entry->occurred_at ||
		   (since <= entry->occurred_at &&
			(request->inbound_at >= since || kept_plan_run(&begun_select, values, NULL, false, 1) > 0));
}

/*
 * Returns the request, opened later, that a contact would have opened if it had been logged in time, or NULL: the first
 * one that a contact opened because nothing was open.
 */
static OpenRequest *
opened_instead(const OpenCustomer *customer, const ContactEntry *entry, const Channel *channel)
{
	OpenRequest *first = NULL;

	if (!is_inbound(entry) || !channel->opens_request)
		return NULL;
	for (OpenRequest *request = customer->requests; request != NULL; request = request->next)
	{
		Datum values[3] = {Int64GetDatum(request->customer_id), TimestampTzGetDatum(request->opened_at),
						   Int64GetDatum(request->request_id)};

		if (request->opened_at > entry->occurred_at && (first == NULL || request->opened_at < first->opened_at) &&
			is_near(request, entry, channel) && kept_plan_run(&loose_select, values, NULL, false, 1) > 0)
			first = request;
	}
	return first;
}

/* Returns whether the customer said something since the contact's time that may have moved one of several requests. */
static bool
is_late(const OpenCustomer *customer, const ContactEntry *entry)
{
	Datum values[2] = {Int64GetDatum(entry->customer_id), TimestampTzGetDatum(entry->occurred_at)};

	return customer->requests != NULL && customer->requests->next != NULL &&
		   kept_plan_run(&later_select, values, NULL, false, 1) > 0;
}

/* Returns in which channel the customer of a request was at the contact's time. */
static const char *
channel_then(const OpenRequest *request, const ContactEntry *entry, bool late)
{
	Datum values[3] = {Int64GetDatum(request->customer_id), TimestampTzGetDatum(entry->occurred_at),
					   Int64GetDatum(request->request_id)};
	const ContactEntry *said_by = request->said_by;
	const char *channel = said_by != NULL ? said_by->channel : request->channel;

	if (!late)
		return request->in_channel;
	if (kept_plan_run(&channel_then_select, values, NULL, false, 1) > 0 &&
		(said_by == NULL || spi_time(0, 2, DT_NOBEGIN) > said_by->occurred_at))
		channel = spi_text(0, 1, CurrentMemoryContext);
	SPI_freetuptable(SPI_tuptable);
	return channel;
}

/*
 * open_request_said_later returns whether what is logged shows that its customer said something about a request later
 * than the contact. The first that is asked about must be the first in time.
 */
bool
open_request_said_later(OpenRequest *request, const ContactEntry *entry)
{
	Datum values[3] = {Int64GetDatum(entry->customer_id), TimestampTzGetDatum(entry->occurred_at),
					   Int64GetDatum(request->request_id)};

	if (!request->said_asked && request->opens == NULL)
	{
		request->said_at = DT_NOBEGIN;
		if (kept_plan_run(&said_select, values, NULL, false, 1) > 0)
			request->said_at = spi_time(0, 1, DT_NOBEGIN);
		SPI_freetuptable(SPI_tuptable);
		request->said_asked = true;
	}
	return request->opens == NULL && request->said_at > entry->occurred_at;
}

/* How near a request is to a contact, of which the nearest and then the newest is the one that it is about. */
#define OPENED_IN_CHANNEL 1
#define IN_CHANNEL_THEN 2
#define ITS_OWN 1 /* of the same customer, beside the nearness of one of those, doubled */
#define NEAREST (2 * IN_CHANNEL_THEN + ITS_OWN)

static int
nearness_of(const OpenRequest *request, const ContactEntry *entry, bool late)
{
	int nearness = 0;

	if (strcmp(channel_then(request, entry, late), entry->channel) == 0)
		nearness = IN_CHANNEL_THEN;
	else if (strcmp(request->channel, entry->channel) == 0)
		nearness = OPENED_IN_CHANNEL;
	return nearness == 0 ? 0 : 2 * nearness + (request->customer_id == entry->customer_id ? ITS_OWN : 0);
}

/*
 * Returns the request that a contact without a conversation continues, or NULL: of those that had been opened by then
 * the newest of those whose customer was in the contact's channel, else of those that were opened in it, of its own
 * customer's before others', else of all. One that was opened later it goes into where it would have opened that.
 */
OpenRequest *
open_request_continued(const OpenCustomer *customer, const ContactEntry *entry, const Channel *channel)
{
	OpenRequest *best = NULL;
	int nearest = -1;
	bool later = false;
	bool late = is_late(customer, entry);

	for (OpenRequest *request = customer->requests; request != NULL && nearest < NEAREST; request = request->next)
	{
		int nearness;

		if (!had_begun(request, entry, channel))
		{
			later = true;
			continue;
		}
		nearness = nearness_of(request, entry, late);
		if (nearness > nearest && is_near(request, entry, channel))
		{
			best = request;
			nearest = nearness;
		}
	}
	if (best == NULL && later)
		return opened_instead(customer, entry, channel);
	return best;
}

/*
 * open_request_is_sure returns whether a request that was found for a contact among those of its own customer goes
 * before all of those whom that was merged with.
 */
bool
open_request_is_sure(const OpenRequest *request, const ContactEntry *entry)
{
	return request != NULL && nearness_of(request, entry, false) == NEAREST;
}
