/*
 * open_requests.h
 *	  The open requests of the customers of contacts.
 */
#ifndef OMNICHANNEL_OPEN_REQUESTS_H
#define OMNICHANNEL_OPEN_REQUESTS_H

#include "contact/contact.h"
#include "customer/customer.h"

/* An open request of a customer, or one that is about to be opened. */
typedef struct OpenRequest
{
	int64 request_id;
	int64 customer_id;
	const char *channel;
	const char *in_channel; /* in which its customer is, as far as the contacts at hand are looked at; NULL: closed */
	TimestampTz opened_at;
	TimestampTz inbound_at;      /* when the last inbound one of these that is about it occurred, or -infinity */
	TimestampTz moved_at;        /* its last contact or change of state that is known here */
	TimestampTz asked_since;     /* as of when the log was asked for its last contact, or infinity */
	bool said_asked;             /* whether said_at is known */
	TimestampTz said_at;         /* when its customer said something last, as is logged, or some time before */
	const ContactEntry *said_by; /* of those at hand the last by which he did, or NULL */
	TimestampTz waits_since;     /* for the customer, or infinity */
	const ContactEntry *opens;   /* the contact that opens it, or NULL */
	const ContactEntry *ends;    /* the contact that ends its waiting, or NULL */
	bool quiet;                  /* nobody was changing its row when that was looked at */
	SlaRequestState said;        /* where it was looked up; the state is NULL otherwise */
	struct OpenRequest *next;    /* of the same customer, newest first */
} OpenRequest;

/* A customer of the contacts at hand; customers are sorted by id. */
typedef struct OpenCustomer
{
	int64 customer_id;
	int64 root;                /* whom it was merged into, or itself */
	struct OpenCustomer *same; /* who holds the requests of all that are one */
	OpenRequest *requests;
} OpenCustomer;

/* The customer $1 and all who are one with it, as g (customer_id). */
#define ALL_WHO_ARE_ONE                                                                                                \
	"(SELECT coalesce(one.merged_into, one.customer_id) AS root "                                                      \
	"FROM omnichannel.customer AS one WHERE one.customer_id = $1 OFFSET 0) AS k "                                      \
	"CROSS JOIN LATERAL (SELECT k.root AS customer_id UNION ALL SELECT m.customer_id "                                 \
	"FROM omnichannel.customer AS m WHERE m.merged_into = k.root) AS g"

extern OpenCustomer *open_customers(ContactEntry **entries, int count, int *found);
extern OpenCustomer *open_customer_find(OpenCustomer *customers, int count, int64 customer_id);
extern void open_requests_read(OpenCustomer *customers, int count, ContactEntry **entries, int nentries);
extern void open_requests_read_own(OpenCustomer *customer, Snapshot snapshot);
extern void open_request_note_place(const OpenCustomer *customer, OpenRequest *request);
extern bool open_request_goes_on(const ContactEntry *entry, const Channel *channel, SlaWait *wait, Snapshot snapshot);

/* continued.c */
extern OpenRequest *open_request_continued(const OpenCustomer *customer, const ContactEntry *entry,
										   const Channel *channel);
extern bool open_request_is_sure(const OpenRequest *request, const ContactEntry *entry);
extern bool open_request_said_later(OpenRequest *request, const ContactEntry *entry);

/* assign.c */
extern bool comes_back(const ContactEntry *entry, const Channel *channel);
extern int requests_assign(ContactEntry **sorted, int count, OpenCustomer *customers, int ncustomers,
						   OpenRequest **opened, OpenRequest **resumed, int *nresumed);

/* await.c */
extern void requests_named_await(ContactEntry *entries, int count);
extern bool no_request_awaited(ContactEntry **entries, int count);
extern bool no_customer_awaited(ContactEntry **entries, int count);
extern bool request_unchanged(const ContactEntry *entry);

#endif /* OMNICHANNEL_OPEN_REQUESTS_H */
