/*
 * request.h
 *	  What the request room offers to the others.
 */
#ifndef OMNICHANNEL_REQUEST_H
#define OMNICHANNEL_REQUEST_H

#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "omnichannel.h"

typedef enum RequestState
{
	REQUEST_NEW,
	REQUEST_WAITING_AGENT,
	REQUEST_OFFERED,
	REQUEST_ASSIGNED,
	REQUEST_WAITING_CUSTOMER,
	REQUEST_DONE,
	REQUEST_CANCELLED
} RequestState;

#define REQUEST_STATES (REQUEST_CANCELLED + 1)

extern const char *request_state_name(RequestState state);
extern bool request_state_parse(const char *name, RequestState *state);
extern bool request_state_ends(RequestState state);

/* A clock of an application's server may run ahead of the database's by this much. */
#define CLOCK_SKEW (60 * USECS_PER_SEC)

/*
 * Whoever writes requests does so by requests_write() and calls requests_changed() afterwards, in the same SPI scope: a
 * later room does what follows. A call too many does no harm. See follow.c. Whoever closes requests calls
 * prepare_close() before that, for the room that ends its own work with them: it locks them and then what it needs.
 */
typedef void (*RequestListener)(const int64 *request_ids, int count);

/* What the request is about to become is said. */
typedef void (*RequestClosingListener)(int64 request_id, RequestState state);

extern RequestListener request_listener;
extern RequestClosingListener request_closing_listener;
extern uint64 requests_write(KeptPlan *plan, Datum *values, const char *nulls);
extern void requests_changed(const int64 *request_ids, int count);
extern void requests_told(const int64 *request_ids, int count);

/* open.c */
extern bool request_agent_exists(int64 agent_id);
extern void request_check_agent(int64 agent_id);

/* state.c, for the triggers of the table */
extern void request_refuse_time(const char *column, TimestampTz at);
extern int request_column(Relation relation, const char *name);

#endif /* OMNICHANNEL_REQUEST_H */
