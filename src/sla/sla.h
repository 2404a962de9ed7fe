/*
 * sla.h
 *	  What the room sla offers to the rooms after it.
 */
#ifndef OMNICHANNEL_SLA_H
#define OMNICHANNEL_SLA_H

#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "utils/snapshot.h"

/* What a request says that clocks go by. */
typedef struct SlaRequestState
{
	const char *state;
	const char *kind;
	const char *queue; /* or NULL */
	int32 priority;
	ItemPointerData place; /* of its row, where it is the customer's newest open one of its channel, or invalid */
} SlaRequestState;

/* What is known of a customer who waits for an answer. */
typedef struct SlaWait
{
	int64 request_id;
	ItemPointerData request_place; /* where the version of its row is that the rest is known of */
	ItemPointerData place;         /* of the customer's row in sla_customer */
} SlaWait;

/* What was read of a request into which a contact is to go. */
typedef struct SlaKnownRequest
{
	int64 request_id;
	bool open;
	TimestampTz waits_since; /* for its customer, or infinity */
} SlaKnownRequest;

/* A contact that was logged live; ids of 0 and NULL pointers stand for what is not given. */
typedef struct SlaContact
{
	int64 customer_id; /* of whom it is logged */
	int64 contact_id;
	int64 request_id;
	TimestampTz occurred_at;
	const char *channel;
	const char *direction;
	const char *outcome;
	const char *thread;
	const char *source;             /* whose key that is */
	const SlaRequestState *request; /* of request_id as the active snapshot has it, where that is known */
	ItemPointerData place;          /* where sla_customers_awaited() met the customer's row, or invalid */
	bool opens;                     /* it has opened request_id, of which nothing was said yet */
	bool still;                     /* contact.still, of one that is revised, or is to be written */
	bool internal;                  /* of one that is revised: it was so far */
} SlaContact;

/* effect.c, request.c and reckon.c: all need an SPI scope */
extern bool sla_contact_told(SlaContact *contact, bool again, bool stills);
extern bool sla_customers_awaited(const int64 *ids, int count, ItemPointer places);
extern void sla_customers_hold(const int64 *ids, int count);
extern bool sla_requests_awaited(const SlaKnownRequest *known, int count);
extern void sla_contacts_logged(SlaContact *contacts, int count, bool stills);
extern void sla_contact_revised(SlaContact *contact);
extern void sla_requests_changed(const int64 *request_ids, int count);
extern TimestampTz sla_request_due(int64 request_id);
extern void sla_customers_changed(const int64 *roots, int count, bool parted);

/* wait.c */
extern bool sla_wait_find(int64 customer_id, const char *channel, TimestampTz at, Snapshot snapshot, SlaWait *wait);
extern bool sla_wait_go_on(SlaWait *wait, TimestampTz at);
extern void sla_waits_forget(const int64 *request_ids, int count, bool merged);

extern void sla_init(void);

/* Told of requests, as bigint[], whose clocks are due at other times than before, for the room that serves by them. */
typedef void (*SlaDueListener)(Datum request_ids);

extern SlaDueListener sla_due_listener;

#endif /* OMNICHANNEL_SLA_H */
