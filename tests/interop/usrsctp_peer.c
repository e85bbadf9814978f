/*
 * A scriptable SCTP peer on usrsctp, over UDP encapsulation (RFC 6951).
 *
 * The tests start this program, write one command per line to its stdin and read one JSON object
 * per line from its stdout. It has one one-to-many socket (RFC 6458, section 3), so one process can
 * connect and accept any number of associations; each gets a connection id, counted from 1.
 *
 * Threads, and what each may wait for:
 *
 *   main      reads stdin. Commands that only look, or that must act at once (abort, status, stats,
 *             totals, pause, quit), are carried out here. All others go into the work queue.
 *   worker    carries out the work queue in order; a send may wait here for buffer space, so that
 *             "send, send, reset-out" means what it says.
 *   receiver  waits in usrsctp_recvv(); reassembles, reports, and queues echoes.
 *   printer   waits for the pipe to the tests. Both queues are unbounded: a test that does not read
 *             must not shut the receive window by accident. "pause" shuts it on purpose.
 *
 * Commands ("@ID " in front picks a connection; otherwise the one that came up last):
 *
 *   connect ADDRESS UDP_PORT SCTP_PORT
 *   send STREAM PPID ordered|unordered reliable|rtx:N|ttl:MS|prio:N SIZE SEED [COUNT]
 *                          COUNT messages, with the seeds SEED, SEED+1, ...
 *   reset-out S1,S2 | all      reset-in S1,S2 | all      reset-tsn      add OUT IN
 *   shutdown | abort [REASON] | close (shuts all down, then exits) | quit (exits without a word)
 *   echo on|off            send each message back: same stream, PPID and order
 *   report on|off          one "message" line for each message, or only counts
 *   pause | resume         stop and go on reading (one message may slip through after pause)
 *   wait-dry               "dry" when everything queued was acknowledged
 *   status | stats | totals | sync ("synced" when all earlier commands were carried out)
 *
 * status, stats, totals, echo, report, pause and resume are answered with an event of that name.
 *
 * The payload of a message is a function of seed and size, see fill_pattern().
 *
 * RFC 9653 (zero checksum) came into usrsctp after 0.9.5: SCTP_ACCEPT_ZERO_CHECKSUM is absent from
 * its header, and the first line of output says so in "zero_checksum".
 */

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <usrsctp.h>

/* The library has this option, but its installed header does not name it. */
#ifndef SCTP_INTERLEAVING_SUPPORTED
#define SCTP_INTERLEAVING_SUPPORTED 0x00001206
#endif

#ifdef SCTP_ACCEPT_ZERO_CHECKSUM
#define HAVE_ZERO_CHECKSUM true
#else
#define HAVE_ZERO_CHECKSUM false
#endif

#define PATTERN_PERIOD 4093 /* prime: no shift by a few chunks maps the pattern to itself */
#define READ_SIZE 65536
#define MAX_STREAM_LIST 1024
#define UNSET (-1)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static void die(const char *what)
{
	fprintf(stderr, "usrsctp_peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *allocate(size_t size)
{
	void *memory = calloc(1, size > 0 ? size : 1);

	if (memory == NULL)
		die("calloc");
	return memory;
}

/* ---------------------------------------------------------------- payload */

static uint32_t crc_table[256];

static void crc32_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t value = i;

		for (int bit = 0; bit < 8; bit++)
			value = (value >> 1) ^ ((value & 1) ? 0xedb88320u : 0);
		crc_table[i] = value;
	}
}

/* The CRC-32 of zlib; start with 0, feed the result back in to go on. */
static uint32_t crc32_update(uint32_t crc, const uint8_t *data, size_t size)
{
	crc = ~crc;
	for (size_t i = 0; i < size; i++)
		crc = (crc >> 8) ^ crc_table[(crc ^ data[i]) & 0xff];
	return ~crc;
}

/*
 * The words of xorshift32 (13, 17, 5), little-endian, from state seed (0 stands for 0x9e3779b9),
 * cut to PATTERN_PERIOD bytes and repeated.
 */
static void fill_pattern(uint8_t *data, size_t size, uint32_t seed)
{
	uint32_t x = seed != 0 ? seed : 0x9e3779b9u;

	for (size_t i = 0; i < size && i < PATTERN_PERIOD; i++) {
		if (i % 4 == 0) {
			x ^= x << 13;
			x ^= x >> 17;
			x ^= x << 5;
		}
		data[i] = (uint8_t)(x >> (8 * (i % 4)));
	}
	for (size_t i = PATTERN_PERIOD; i < size; i++)
		data[i] = data[i - PATTERN_PERIOD];
}

/* ---------------------------------------------------------------- queues */

struct item {
	struct item *next;
	size_t size;
	char bytes[]; /* a line of output, or a struct job with its payload */
};

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	pthread_cond_t emptied;
	struct item *first;
	struct item **last;
	bool busy; /* an item was taken and is still being worked on */
};

#define QUEUE_INIT(name)                                                                           \
	{ PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL,     \
	  &(name).first, false }

static struct queue output = QUEUE_INIT(output);
static struct queue work = QUEUE_INIT(work);

static void queue_put(struct queue *queue, struct item *item)
{
	pthread_mutex_lock(&queue->lock);
	item->next = NULL;
	*queue->last = item;
	queue->last = &item->next;
	pthread_cond_signal(&queue->filled);
	pthread_mutex_unlock(&queue->lock);
}

static struct item *queue_take(struct queue *queue)
{
	struct item *item;

	pthread_mutex_lock(&queue->lock);
	queue->busy = false;
	if (queue->first == NULL)
		pthread_cond_broadcast(&queue->emptied);
	while (queue->first == NULL)
		pthread_cond_wait(&queue->filled, &queue->lock);
	item = queue->first;
	queue->first = item->next;
	if (queue->first == NULL)
		queue->last = &queue->first;
	queue->busy = true;
	pthread_mutex_unlock(&queue->lock);
	return item;
}

static void queue_wait_empty(struct queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	while (queue->first != NULL || queue->busy)
		pthread_cond_wait(&queue->emptied, &queue->lock);
	pthread_mutex_unlock(&queue->lock);
}

/* ---------------------------------------------------------------- output */

static struct item *item_new(size_t size)
{
	struct item *item = allocate(sizeof(*item) + size);

	item->size = size;
	return item;
}

/* Queues one line of JSON. Whole lines only, so threads need no lock around it. */
__attribute__((format(printf, 1, 2))) static void emit(const char *format, ...)
{
	va_list arguments;
	struct item *item;
	int size;

	va_start(arguments, format);
	size = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	item = item_new((size_t)size + 1);
	va_start(arguments, format);
	vsnprintf(item->bytes, item->size, format, arguments);
	va_end(arguments);
	queue_put(&output, item);
}

static void *printer(void *unused)
{
	(void)unused;
	for (;;) {
		struct item *item = queue_take(&output);

		puts(item->bytes);
		fflush(stdout);
		free(item);
	}
	return NULL;
}

__attribute__((noreturn)) static void leave(int status)
{
	queue_wait_empty(&output);
	_exit(status); /* usrsctp_finish() refuses while associations exist; the kernel tidies up */
}

/* The command is ours to echo, but it may hold anything: keep only what JSON takes as it is. */
static void emit_error(const char *command, const char *message)
{
	char clean[128];
	size_t used = 0;

	for (; *command != '\0' && used + 1 < sizeof(clean); command++)
		if (*command >= ' ' && *command < 127 && *command != '"' && *command != '\\')
			clean[used++] = *command;
	clean[used] = '\0';
	emit("{\"event\": \"error\", \"command\": \"%s\", \"message\": \"%s\"}", clean, message);
}

static char *hex_new(const uint8_t *data, size_t size)
{
	char *text = allocate(2 * size + 1);

	for (size_t i = 0; i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", data[i]);
	return text;
}

/* "[1, 2]" */
static char *list_new(const uint16_t *values, size_t count)
{
	char *text = allocate(8 * count + 3);
	char *end = text;

	*end++ = '[';
	for (size_t i = 0; i < count; i++)
		end += sprintf(end, "%s%u", i > 0 ? ", " : "", values[i]);
	*end++ = ']';
	return text;
}

/* ---------------------------------------------------------------- connections */

/* A message of which only a part was delivered so far. Owned by the receiver thread. */
struct partial {
	struct partial *next;
	uint16_t stream;
	uint16_t ssn; /* the lower half of the MID where messages interleave */
	bool unordered;
	uint32_t ppid;
	uint32_t parts;
	size_t size;
	size_t capacity;
	uint8_t *data;
};

struct connection {
	struct connection *next;
	int id;
	sctp_assoc_t association;
	bool up;
	struct partial *partials;
	uint64_t messages;
	uint64_t bytes;
	uint32_t crc; /* over all payloads in the order of their arrival */
};

static struct socket *endpoint;
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct connection *connections; /* newest first; records stay until the process ends */
static int current_connection;         /* id of the one that came up last; 0: none yet */
static bool closing;

static volatile bool echoing;
static volatile bool reporting = true;

static pthread_mutex_t pause_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t resumed = PTHREAD_COND_INITIALIZER;
static bool paused;

static struct connection *connection_by_id(int id)
{
	struct connection *connection;

	pthread_mutex_lock(&table_lock);
	connection = connections;
	while (connection != NULL && connection->id != id)
		connection = connection->next;
	pthread_mutex_unlock(&table_lock);
	return connection;
}

/* Association ids are not used again while the process lives, so dead records do no harm. */
static struct connection *connection_of(sctp_assoc_t association)
{
	struct connection *connection;

	pthread_mutex_lock(&table_lock);
	connection = connections;
	while (connection != NULL && connection->association != association)
		connection = connection->next;
	if (connection == NULL) {
		connection = allocate(sizeof(*connection));
		connection->id = connections != NULL ? connections->id + 1 : 1;
		connection->association = association;
		connection->next = connections;
		connections = connection;
	}
	pthread_mutex_unlock(&table_lock);
	return connection;
}

static void connection_set_up(struct connection *connection, bool up)
{
	bool last = true;

	pthread_mutex_lock(&table_lock);
	connection->up = up;
	if (up)
		current_connection = connection->id;
	for (struct connection *other = connections; other != NULL; other = other->next)
		last = last && !other->up;
	last = last && closing;
	pthread_mutex_unlock(&table_lock);
	if (last)
		leave(0);
}

/* ---------------------------------------------------------------- work */

enum job_kind {
	JOB_CONNECT,
	JOB_SEND,
	JOB_RESET_STREAMS,
	JOB_RESET_ASSOCIATION,
	JOB_ADD_STREAMS,
	JOB_SHUTDOWN,
	JOB_WAIT_DRY,
	JOB_SYNC,
	JOB_CLOSE,
};

struct job {
	enum job_kind kind;
	sctp_assoc_t association;
	int connection;
	union sctp_sockstore address; /* connect */
	uint16_t udp_port;
	struct sctp_sendv_spa how; /* send */
	uint32_t seed;
	uint32_t count;
	size_t size;
	uint8_t *echo;       /* payload of an echo; NULL: make it from the seed */
	uint16_t flags;      /* reset: direction */
	uint16_t streams[2]; /* add: outgoing, incoming */
	uint16_t list_size;  /* reset; 0 means all */
	uint16_t *list;
};

static void job_put(const struct job *job)
{
	struct item *item = item_new(sizeof(*job));

	memcpy(item->bytes, job, sizeof(*job));
	queue_put(&work, item);
}

static void set_option(int option, const void *value, socklen_t size, const char *name)
{
	if (usrsctp_setsockopt(endpoint, IPPROTO_SCTP, option, value, size) < 0)
		die(name);
}

static int subscribe(sctp_assoc_t association, uint16_t type, bool on)
{
	struct sctp_event event = {.se_assoc_id = association, .se_type = type, .se_on = on};

	return usrsctp_setsockopt(endpoint, IPPROTO_SCTP, SCTP_EVENT, &event, sizeof(event));
}

static socklen_t address_size(const union sctp_sockstore *address)
{
	return address->sa.sa_family == AF_INET6 ? sizeof(address->sin6) : sizeof(address->sin);
}

/* Where the association's packets go to, until the peer is heard from another UDP port. */
static void do_connect(struct job *job)
{
	struct sctp_udpencaps encapsulation;

	memset(&encapsulation, 0, sizeof(encapsulation));
	encapsulation.sue_address.ss_family = job->address.sa.sa_family;
	encapsulation.sue_port = htons(job->udp_port);
	set_option(SCTP_REMOTE_UDP_ENCAPS_PORT, &encapsulation, sizeof(encapsulation),
		   "SCTP_REMOTE_UDP_ENCAPS_PORT");
	if (usrsctp_connect(endpoint, &job->address.sa, address_size(&job->address)) < 0 &&
	    errno != EINPROGRESS)
		emit_error("connect", strerror(errno));
}

static void do_send(struct job *job)
{
	uint8_t *data = job->echo != NULL ? job->echo : allocate(job->size);

	for (uint32_t i = 0; i < job->count; i++) {
		if (job->echo == NULL)
			fill_pattern(data, job->size, job->seed + i);
		if (usrsctp_sendv(endpoint, data, job->size, NULL, 0, &job->how, sizeof(job->how),
				  SCTP_SENDV_SPA, 0) < 0) {
			emit("{\"event\": \"send-error\", \"id\": %d, \"stream\": %u, \"sent\": %u, "
			     "\"errno\": %d, \"message\": \"%s\"}",
			     job->connection, job->how.sendv_sndinfo.snd_sid, i, errno,
			     strerror(errno));
			break;
		}
	}
	free(data);
}

static void do_reset_streams(struct job *job)
{
	size_t size = sizeof(struct sctp_reset_streams) + job->list_size * sizeof(uint16_t);
	struct sctp_reset_streams *request = allocate(size);

	request->srs_assoc_id = job->association;
	request->srs_flags = job->flags;
	request->srs_number_streams = job->list_size;
	if (job->list_size > 0)
		memcpy(request->srs_stream_list, job->list, job->list_size * sizeof(uint16_t));
	if (usrsctp_setsockopt(endpoint, IPPROTO_SCTP, SCTP_RESET_STREAMS, request,
			       (socklen_t)size) < 0)
		emit_error("reset", strerror(errno));
	free(request);
	free(job->list);
}

static void do_reset_association(struct job *job)
{
	if (usrsctp_setsockopt(endpoint, IPPROTO_SCTP, SCTP_RESET_ASSOC, &job->association,
			       sizeof(job->association)) < 0)
		emit_error("reset-tsn", strerror(errno));
}

static void do_add_streams(struct job *job)
{
	struct sctp_add_streams request = {
		.sas_assoc_id = job->association,
		.sas_outstrms = job->streams[0],
		.sas_instrms = job->streams[1],
	};

	if (usrsctp_setsockopt(endpoint, IPPROTO_SCTP, SCTP_ADD_STREAMS, &request,
			       sizeof(request)) < 0)
		emit_error("add", strerror(errno));
}

/* SCTP_EOF starts a shutdown after what is queued, SCTP_ABORT an abort with the data as reason. */
static int send_flag(sctp_assoc_t association, uint16_t flag, const char *reason)
{
	struct sctp_sndinfo info = {.snd_flags = flag, .snd_assoc_id = association};

	return (int)usrsctp_sendv(endpoint, reason, strlen(reason), NULL, 0, &info, sizeof(info),
				  SCTP_SENDV_SNDINFO, 0);
}

static void do_close(void)
{
	bool any = false;

	pthread_mutex_lock(&table_lock);
	closing = true;
	pthread_mutex_unlock(&table_lock);
	usrsctp_listen(endpoint, 0);
	for (struct connection *c = connections; c != NULL; c = c->next) {
		if (c->up) {
			any = true;
			if (send_flag(c->association, SCTP_EOF, "") < 0)
				emit_error("close", strerror(errno));
		}
	}
	if (!any)
		leave(0);
}

static void *worker(void *unused)
{
	(void)unused;
	for (;;) {
		struct item *item = queue_take(&work);
		struct job *job = (struct job *)item->bytes;

		switch (job->kind) {
		case JOB_CONNECT:
			do_connect(job);
			break;
		case JOB_SEND:
			do_send(job);
			break;
		case JOB_RESET_STREAMS:
			do_reset_streams(job);
			break;
		case JOB_RESET_ASSOCIATION:
			do_reset_association(job);
			break;
		case JOB_ADD_STREAMS:
			do_add_streams(job);
			break;
		case JOB_SHUTDOWN:
			if (send_flag(job->association, SCTP_EOF, "") < 0)
				emit_error("shutdown", strerror(errno));
			break;
		case JOB_WAIT_DRY:
			if (subscribe(job->association, SCTP_SENDER_DRY_EVENT, true) < 0)
				emit_error("wait-dry", strerror(errno));
			break;
		case JOB_SYNC:
			emit("{\"event\": \"synced\"}");
			break;
		case JOB_CLOSE:
			do_close();
			break;
		}
		free(item);
	}
	return NULL;
}

/* ---------------------------------------------------------------- messages in */

static struct partial *partial_find(struct connection *connection, const struct sctp_rcvinfo *info)
{
	bool unordered = (info->rcv_flags & SCTP_UNORDERED) != 0;
	struct partial *partial = connection->partials;

	while (partial != NULL && (partial->stream != info->rcv_sid ||
				   partial->ssn != info->rcv_ssn || partial->unordered != unordered))
		partial = partial->next;
	if (partial == NULL) {
		partial = allocate(sizeof(*partial));
		partial->stream = info->rcv_sid;
		partial->ssn = info->rcv_ssn;
		partial->unordered = unordered;
		partial->ppid = ntohl(info->rcv_ppid);
		partial->next = connection->partials;
		connection->partials = partial;
	}
	return partial;
}

static void partial_append(struct partial *partial, const uint8_t *data, size_t size)
{
	if (partial->size + size > partial->capacity) {
		partial->capacity = 2 * partial->capacity + size;
		partial->data = realloc(partial->data, partial->capacity);
		if (partial->data == NULL)
			die("realloc");
	}
	memcpy(partial->data + partial->size, data, size);
	partial->size += size;
	partial->parts++;
}

static void partial_unlink(struct connection *connection, struct partial *partial)
{
	struct partial **link = &connection->partials;

	while (*link != partial)
		link = &(*link)->next;
	*link = partial->next;
}

static void queue_echo(struct connection *connection, struct partial *message)
{
	struct job job;

	memset(&job, 0, sizeof(job));
	job.kind = JOB_SEND;
	job.association = connection->association;
	job.connection = connection->id;
	job.how.sendv_flags = SCTP_SEND_SNDINFO_VALID;
	job.how.sendv_sndinfo.snd_sid = message->stream;
	job.how.sendv_sndinfo.snd_ppid = htonl(message->ppid);
	job.how.sendv_sndinfo.snd_flags = message->unordered ? SCTP_UNORDERED : 0;
	job.how.sendv_sndinfo.snd_assoc_id = connection->association;
	job.count = 1;
	job.size = message->size;
	job.echo = message->data;
	message->data = NULL; /* the job frees it */
	job_put(&job);
}

static void handle_data(const struct sctp_rcvinfo *info, const uint8_t *data, size_t size, bool end)
{
	struct connection *connection = connection_of(info->rcv_assoc_id);
	struct partial *message = partial_find(connection, info);

	partial_append(message, data, size);
	if (!end)
		return;
	partial_unlink(connection, message);
	pthread_mutex_lock(&table_lock);
	connection->messages++;
	connection->bytes += message->size;
	connection->crc = crc32_update(connection->crc, message->data, message->size);
	pthread_mutex_unlock(&table_lock);
	if (reporting)
		emit("{\"event\": \"message\", \"id\": %d, \"stream\": %u, \"ssn\": %u, "
		     "\"ppid\": %u, \"unordered\": %s, \"size\": %zu, \"crc\": %u, \"parts\": %u}",
		     connection->id, message->stream, message->ssn, message->ppid,
		     message->unordered ? "true" : "false", message->size,
		     crc32_update(0, message->data, message->size), message->parts);
	if (echoing)
		queue_echo(connection, message);
	free(message->data);
	free(message);
}

/* ---------------------------------------------------------------- notifications */

static const char *support_name(uint8_t value)
{
	switch (value) {
	case SCTP_ASSOC_SUPPORTS_PR:
		return "pr";
	case SCTP_ASSOC_SUPPORTS_AUTH:
		return "auth";
	case SCTP_ASSOC_SUPPORTS_ASCONF:
		return "asconf";
	case SCTP_ASSOC_SUPPORTS_MULTIBUF:
		return "multibuf";
	case SCTP_ASSOC_SUPPORTS_RE_CONFIG:
		return "reconfig";
	case SCTP_ASSOC_SUPPORTS_INTERLEAVING:
		return "interleaving";
	default:
		return "other";
	}
}

static void handle_association_up(struct connection *connection, const char *event,
				  const struct sctp_assoc_change *change)
{
	size_t count = change->sac_length - sizeof(*change);
	char supports[16 * 256] = "";
	size_t used = 0;

	for (size_t i = 0; i < count && used + 32 < sizeof(supports); i++)
		used += (size_t)snprintf(supports + used, sizeof(supports) - used, "%s\"%s\"",
					 i > 0 ? ", " : "", support_name(change->sac_info[i]));
	/* First of all: the next command may come as soon as the tests have read the event. */
	connection_set_up(connection, true);
	emit("{\"event\": \"%s\", \"id\": %d, \"out_streams\": %u, \"in_streams\": %u, "
	     "\"supports\": [%s]}",
	     event, connection->id, change->sac_outbound_streams, change->sac_inbound_streams,
	     supports);
}

static void handle_association_change(const struct sctp_assoc_change *change)
{
	struct connection *connection = connection_of(change->sac_assoc_id);
	const char *event = "";
	char *info;

	switch (change->sac_state) {
	case SCTP_COMM_UP:
		handle_association_up(connection, "up", change);
		return;
	case SCTP_RESTART:
		handle_association_up(connection, "restart", change);
		return;
	case SCTP_COMM_LOST:
		event = "lost";
		break;
	case SCTP_SHUTDOWN_COMP:
		event = "shutdown-complete";
		break;
	case SCTP_CANT_STR_ASSOC:
		event = "cannot-start";
		break;
	}
	/* Where the peer aborted, sac_info is its ABORT chunk. */
	info = hex_new(change->sac_info, change->sac_length - sizeof(*change));
	emit("{\"event\": \"%s\", \"id\": %d, \"error\": %u, \"chunk\": \"%s\"}", event,
	     connection->id, change->sac_error, info);
	free(info);
	connection_set_up(connection, false);
}

static void handle_address_change(const struct sctp_paddr_change *change)
{
	static const char *const states[] = {"available", "unreachable", "removed",
					     "added",     "primary",     "confirmed"};
	const char *state = "unknown";

	if (change->spc_state >= 1 && change->spc_state <= COUNT_OF(states))
		state = states[change->spc_state - 1];
	emit("{\"event\": \"path\", \"id\": %d, \"state\": \"%s\", \"error\": %u}",
	     connection_of(change->spc_assoc_id)->id, state, change->spc_error);
}

static void handle_remote_error(const struct sctp_remote_error *error)
{
	/* The chunk as received is behind the header. */
	char *chunk = hex_new(error->sre_data, error->sre_length - sizeof(*error));

	emit("{\"event\": \"remote-error\", \"id\": %d, \"cause\": %u, \"chunk\": \"%s\"}",
	     connection_of(error->sre_assoc_id)->id, ntohs(error->sre_error), chunk);
	free(chunk);
}

static void handle_send_failed(const struct sctp_send_failed_event *failed)
{
	emit("{\"event\": \"send-failed\", \"id\": %d, \"stream\": %u, \"ppid\": %u, \"sent\": %s, "
	     "\"unordered\": %s, \"size\": %zu, \"error\": %u}",
	     connection_of(failed->ssfe_assoc_id)->id, failed->ssfe_info.snd_sid,
	     ntohl(failed->ssfe_info.snd_ppid),
	     (failed->ssfe_flags & SCTP_DATA_SENT) ? "true" : "false",
	     (failed->ssfe_info.snd_flags & SCTP_UNORDERED) ? "true" : "false",
	     failed->ssfe_length - sizeof(*failed), failed->ssfe_error);
}

static void handle_partial_delivery(const struct sctp_pdapi_event *event)
{
	struct connection *connection = connection_of(event->pdapi_assoc_id);
	struct partial *partial = connection->partials;

	/* The rest of this message never comes (RFC 6458, section 6.1.7). */
	while (partial != NULL &&
	       (partial->stream != (uint16_t)event->pdapi_stream ||
		(!partial->unordered && partial->ssn != (uint16_t)event->pdapi_seq)))
		partial = partial->next;
	emit("{\"event\": \"partial-delivery-aborted\", \"id\": %d, \"stream\": %u, \"ssn\": %u, "
	     "\"size\": %zu}",
	     connection->id, event->pdapi_stream, event->pdapi_seq,
	     partial != NULL ? partial->size : 0);
	if (partial != NULL) {
		partial_unlink(connection, partial);
		free(partial->data);
		free(partial);
	}
}

static void handle_stream_reset(const struct sctp_stream_reset_event *event)
{
	size_t count = (event->strreset_length - sizeof(*event)) / sizeof(uint16_t);
	char *streams = list_new(event->strreset_stream_list, count);

	emit("{\"event\": \"stream-reset\", \"id\": %d, \"incoming\": %s, \"outgoing\": %s, "
	     "\"denied\": %s, \"failed\": %s, \"streams\": %s}",
	     connection_of(event->strreset_assoc_id)->id,
	     (event->strreset_flags & SCTP_STREAM_RESET_INCOMING_SSN) ? "true" : "false",
	     (event->strreset_flags & SCTP_STREAM_RESET_OUTGOING_SSN) ? "true" : "false",
	     (event->strreset_flags & SCTP_STREAM_RESET_DENIED) ? "true" : "false",
	     (event->strreset_flags & SCTP_STREAM_RESET_FAILED) ? "true" : "false", streams);
	free(streams);
}

static void handle_association_reset(const struct sctp_assoc_reset_event *event)
{
	emit("{\"event\": \"association-reset\", \"id\": %d, \"denied\": %s, \"failed\": %s, "
	     "\"local_tsn\": %u, \"remote_tsn\": %u}",
	     connection_of(event->assocreset_assoc_id)->id,
	     (event->assocreset_flags & SCTP_ASSOC_RESET_DENIED) ? "true" : "false",
	     (event->assocreset_flags & SCTP_ASSOC_RESET_FAILED) ? "true" : "false",
	     event->assocreset_local_tsn, event->assocreset_remote_tsn);
}

static void handle_stream_change(const struct sctp_stream_change_event *event)
{
	emit("{\"event\": \"stream-change\", \"id\": %d, \"denied\": %s, \"failed\": %s, "
	     "\"out_streams\": %u, \"in_streams\": %u}",
	     connection_of(event->strchange_assoc_id)->id,
	     (event->strchange_flags & SCTP_STREAM_CHANGE_DENIED) ? "true" : "false",
	     (event->strchange_flags & SCTP_STREAM_CHANGE_FAILED) ? "true" : "false",
	     event->strchange_outstrms, event->strchange_instrms);
}

static void handle_notification(const union sctp_notification *notification)
{
	switch (notification->sn_header.sn_type) {
	case SCTP_ASSOC_CHANGE:
		handle_association_change(&notification->sn_assoc_change);
		break;
	case SCTP_PEER_ADDR_CHANGE:
		handle_address_change(&notification->sn_paddr_change);
		break;
	case SCTP_REMOTE_ERROR:
		handle_remote_error(&notification->sn_remote_error);
		break;
	case SCTP_SEND_FAILED_EVENT:
		handle_send_failed(&notification->sn_send_failed_event);
		break;
	case SCTP_SHUTDOWN_EVENT:
		emit("{\"event\": \"peer-shutdown\", \"id\": %d}",
		     connection_of(notification->sn_shutdown_event.sse_assoc_id)->id);
		break;
	case SCTP_ADAPTATION_INDICATION:
		emit("{\"event\": \"adaptation\", \"id\": %d, \"value\": %u}",
		     connection_of(notification->sn_adaptation_event.sai_assoc_id)->id,
		     notification->sn_adaptation_event.sai_adaptation_ind);
		break;
	case SCTP_PARTIAL_DELIVERY_EVENT:
		handle_partial_delivery(&notification->sn_pdapi_event);
		break;
	case SCTP_SENDER_DRY_EVENT:
		subscribe(notification->sn_sender_dry_event.sender_dry_assoc_id,
			  SCTP_SENDER_DRY_EVENT, false);
		emit("{\"event\": \"dry\", \"id\": %d}",
		     connection_of(notification->sn_sender_dry_event.sender_dry_assoc_id)->id);
		break;
	case SCTP_STREAM_RESET_EVENT:
		handle_stream_reset(&notification->sn_strreset_event);
		break;
	case SCTP_ASSOC_RESET_EVENT:
		handle_association_reset(&notification->sn_assocreset_event);
		break;
	case SCTP_STREAM_CHANGE_EVENT:
		handle_stream_change(&notification->sn_strchange_event);
		break;
	default:
		emit("{\"event\": \"notification\", \"type\": %u}",
		     notification->sn_header.sn_type);
	}
}

static void *receiver(void *unused)
{
	/* A notification may be longer than one read: a failed message comes with its data. */
	struct partial notification;
	static uint64_t buffer[READ_SIZE / sizeof(uint64_t)];

	(void)unused;
	memset(&notification, 0, sizeof(notification));
	for (;;) {
		struct sctp_rcvinfo info;
		union sctp_sockstore from;
		socklen_t from_size = sizeof(from);
		socklen_t info_size = sizeof(info);
		unsigned int info_type = 0;
		int flags = 0;
		ssize_t size;

		pthread_mutex_lock(&pause_lock);
		while (paused)
			pthread_cond_wait(&resumed, &pause_lock);
		pthread_mutex_unlock(&pause_lock);
		size = usrsctp_recvv(endpoint, buffer, sizeof(buffer), &from.sa, &from_size, &info,
				     &info_size, &info_type, &flags);
		if (size < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (size < 0)
			die("usrsctp_recvv");
		if (flags & MSG_NOTIFICATION) {
			partial_append(&notification, (uint8_t *)buffer, (size_t)size);
			if (flags & MSG_EOR) {
				handle_notification((union sctp_notification *)notification.data);
				notification.size = 0;
			}
		} else if (info_type == SCTP_RECVV_RCVINFO) {
			handle_data(&info, (uint8_t *)buffer, (size_t)size, (flags & MSG_EOR) != 0);
		}
	}
	return NULL;
}

/* ---------------------------------------------------------------- commands */

static bool parse_number(const char *text, uint32_t limit, uint32_t *value)
{
	char *end;
	unsigned long long number;

	if (text == NULL || *text < '0' || *text > '9')
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (*end != '\0' || errno != 0 || number > limit)
		return false;
	*value = (uint32_t)number;
	return true;
}

static bool parse_address(const char *text, uint16_t port, union sctp_sockstore *address)
{
	memset(address, 0, sizeof(*address));
	if (text != NULL && inet_pton(AF_INET, text, &address->sin.sin_addr) == 1) {
		address->sin.sin_family = AF_INET;
		address->sin.sin_port = htons(port);
		return true;
	}
	if (text != NULL && inet_pton(AF_INET6, text, &address->sin6.sin6_addr) == 1) {
		address->sin6.sin6_family = AF_INET6;
		address->sin6.sin6_port = htons(port);
		return true;
	}
	return false;
}

static bool parse_policy(const char *text, struct sctp_sendv_spa *how)
{
	static const struct {
		const char *prefix;
		uint16_t policy;
	} policies[] = {
		{"rtx:", SCTP_PR_SCTP_RTX},
		{"ttl:", SCTP_PR_SCTP_TTL},
		{"prio:", SCTP_PR_SCTP_BUF},
	};

	if (text == NULL)
		return false;
	if (strcmp(text, "reliable") == 0)
		return true;
	for (size_t i = 0; i < COUNT_OF(policies); i++) {
		size_t size = strlen(policies[i].prefix);

		if (strncmp(text, policies[i].prefix, size) == 0) {
			how->sendv_flags |= SCTP_SEND_PRINFO_VALID;
			how->sendv_prinfo.pr_policy = policies[i].policy;
			return parse_number(text + size, UINT32_MAX, &how->sendv_prinfo.pr_value);
		}
	}
	return false;
}

static bool parse_send(char **words, size_t count, struct job *job)
{
	uint32_t stream, ppid, size;

	job->kind = JOB_SEND;
	job->count = 1;
	if (count < 7 || count > 8 || !parse_number(words[1], UINT16_MAX, &stream) ||
	    !parse_number(words[2], UINT32_MAX, &ppid) || !parse_policy(words[4], &job->how) ||
	    !parse_number(words[5], UINT32_MAX, &size) ||
	    !parse_number(words[6], UINT32_MAX, &job->seed) ||
	    (count == 8 && !parse_number(words[7], UINT32_MAX, &job->count)))
		return false;
	job->size = size;
	job->how.sendv_flags |= SCTP_SEND_SNDINFO_VALID;
	job->how.sendv_sndinfo.snd_sid = (uint16_t)stream;
	job->how.sendv_sndinfo.snd_ppid = htonl(ppid);
	job->how.sendv_sndinfo.snd_assoc_id = job->association;
	if (strcmp(words[3], "unordered") == 0)
		job->how.sendv_sndinfo.snd_flags = SCTP_UNORDERED;
	else if (strcmp(words[3], "ordered") != 0)
		return false;
	return true;
}

static bool parse_reset(char **words, size_t count, struct job *job)
{
	char *rest = NULL;

	job->kind = JOB_RESET_STREAMS;
	job->flags = strcmp(words[0], "reset-out") == 0 ? SCTP_STREAM_RESET_OUTGOING
							: SCTP_STREAM_RESET_INCOMING;
	if (count != 2)
		return false;
	if (strcmp(words[1], "all") == 0)
		return true;
	job->list = allocate(MAX_STREAM_LIST * sizeof(uint16_t));
	for (char *word = strtok_r(words[1], ",", &rest); word != NULL;
	     word = strtok_r(NULL, ",", &rest)) {
		uint32_t stream;

		if (job->list_size == MAX_STREAM_LIST || !parse_number(word, UINT16_MAX, &stream))
			return false;
		job->list[job->list_size++] = (uint16_t)stream;
	}
	return job->list_size > 0;
}

static bool parse_connect(char **words, size_t count, struct job *job)
{
	uint32_t udp_port, port;

	job->kind = JOB_CONNECT;
	if (count != 4 || !parse_number(words[2], UINT16_MAX, &udp_port) ||
	    !parse_number(words[3], UINT16_MAX, &port))
		return false;
	job->udp_port = (uint16_t)udp_port;
	return parse_address(words[1], (uint16_t)port, &job->address);
}

static bool parse_add(char **words, size_t count, struct job *job)
{
	uint32_t outgoing, incoming;

	job->kind = JOB_ADD_STREAMS;
	if (count != 3 || !parse_number(words[1], UINT16_MAX, &outgoing) ||
	    !parse_number(words[2], UINT16_MAX, &incoming))
		return false;
	job->streams[0] = (uint16_t)outgoing;
	job->streams[1] = (uint16_t)incoming;
	return true;
}

static const char *state_name(int32_t state)
{
	switch (state) {
	case SCTP_CLOSED:
		return "closed";
	case SCTP_COOKIE_WAIT:
		return "cookie-wait";
	case SCTP_COOKIE_ECHOED:
		return "cookie-echoed";
	case SCTP_ESTABLISHED:
		return "established";
	case SCTP_SHUTDOWN_SENT:
		return "shutdown-sent";
	case SCTP_SHUTDOWN_RECEIVED:
		return "shutdown-received";
	case SCTP_SHUTDOWN_ACK_SENT:
		return "shutdown-ack-sent";
	case SCTP_SHUTDOWN_PENDING:
		return "shutdown-pending";
	default:
		return "unknown";
	}
}

static void show_status(const struct connection *connection)
{
	struct sctp_status status;
	socklen_t size = sizeof(status);

	memset(&status, 0, sizeof(status));
	status.sstat_assoc_id = connection->association;
	if (usrsctp_getsockopt(endpoint, IPPROTO_SCTP, SCTP_STATUS, &status, &size) < 0) {
		emit_error("status", strerror(errno));
		return;
	}
	emit("{\"event\": \"status\", \"id\": %d, \"state\": \"%s\", \"rwnd\": %u, \"unacked\": %u, "
	     "\"pending\": %u, \"in_streams\": %u, \"out_streams\": %u, "
	     "\"fragmentation_point\": %u, \"cwnd\": %u, \"srtt\": %u, \"rto\": %u, \"mtu\": %u}",
	     connection->id, state_name(status.sstat_state), status.sstat_rwnd,
	     status.sstat_unackdata, status.sstat_penddata, status.sstat_instrms,
	     status.sstat_outstrms, status.sstat_fragmentation_point,
	     status.sstat_primary.spinfo_cwnd, status.sstat_primary.spinfo_srtt,
	     status.sstat_primary.spinfo_rto, status.sstat_primary.spinfo_mtu);
}

static void show_statistics(void)
{
	struct sctpstat s;

	usrsctp_get_stat(&s);
	emit("{\"event\": \"stats\", \"packets_in\": %u, \"packets_out\": %u, \"data_in\": %u, "
	     "\"data_out\": %u, \"duplicate_data_in\": %u, \"sacks_in\": %u, \"sacks_out\": %u, "
	     "\"retransmitted\": %u, \"fast_retransmitted\": %u, \"t3_timeouts\": %u, "
	     "\"init_timeouts\": %u, \"heartbeats_in\": %u, \"heartbeats_out\": %u, "
	     "\"heartbeat_acks_in\": %u, \"checksum_errors\": %u, \"bad_tags\": %u, "
	     "\"out_of_the_blue\": %u, \"window_probes\": %u, \"window_updates_out\": %u, "
	     "\"aborted\": %u, \"restarts\": %u, \"collisions\": %u, \"dropped_rwnd\": %u, "
	     "\"dropped_chunk_limit\": %u}",
	     s.sctps_inpackets, s.sctps_outpackets, s.sctps_recvdata, s.sctps_senddata,
	     s.sctps_recvdupdata, s.sctps_recvsacks, s.sctps_sendsacks, s.sctps_sendretransdata,
	     s.sctps_sendfastretrans, s.sctps_timodata, s.sctps_timoinit, s.sctps_recvheartbeat,
	     s.sctps_sendheartbeat, s.sctps_recvheartbeatack, s.sctps_checksumerrors,
	     s.sctps_badvtag, s.sctps_outoftheblue, s.sctps_windowprobed, s.sctps_wu_sacks_sent,
	     s.sctps_aborted, s.sctps_restartestab, s.sctps_collisionestab, s.sctps_datadroprwnd,
	     s.sctps_datadropchklmt);
}

static void show_totals(struct connection *connection)
{
	pthread_mutex_lock(&table_lock);
	emit("{\"event\": \"totals\", \"id\": %d, \"messages\": %llu, \"bytes\": %llu, \"crc\": %u}",
	     connection->id, (unsigned long long)connection->messages,
	     (unsigned long long)connection->bytes, connection->crc);
	pthread_mutex_unlock(&table_lock);
}

static void set_paused(bool value)
{
	pthread_mutex_lock(&pause_lock);
	paused = value;
	pthread_cond_broadcast(&resumed);
	pthread_mutex_unlock(&pause_lock);
	emit("{\"event\": \"%s\"}", value ? "pause" : "resume");
}

/* Answered, so that a test can wait until the switch is set before it sends messages. */
static bool run_switch(char **words, volatile bool *value)
{
	if (words[1] == NULL || (strcmp(words[1], "on") != 0 && strcmp(words[1], "off") != 0))
		return false;
	*value = strcmp(words[1], "on") == 0;
	emit("{\"event\": \"%s\", \"value\": \"%s\"}", words[0], words[1]);
	return true;
}

/* Commands that need no connection. False: not one of them, or not well formed. */
static bool run_global(char **words, size_t count, struct job *job)
{
	const char *name = words[0];

	if (strcmp(name, "quit") == 0)
		leave(0);
	if (strcmp(name, "echo") == 0)
		return run_switch(words, &echoing);
	if (strcmp(name, "report") == 0)
		return run_switch(words, &reporting);
	if (strcmp(name, "connect") == 0) {
		if (!parse_connect(words, count, job))
			return false;
		job_put(job);
	} else if (strcmp(name, "pause") == 0) {
		set_paused(true);
	} else if (strcmp(name, "resume") == 0) {
		set_paused(false);
	} else if (strcmp(name, "stats") == 0) {
		show_statistics();
	} else if (strcmp(name, "close") == 0) {
		job->kind = JOB_CLOSE;
		job_put(job);
	} else if (strcmp(name, "sync") == 0) {
		job->kind = JOB_SYNC;
		job_put(job);
	} else {
		return false;
	}
	return true;
}

static bool run_on_connection(char **words, size_t count, struct connection *connection,
			      struct job *job)
{
	const char *name = words[0];
	bool good = true;

	if (strcmp(name, "status") == 0) {
		show_status(connection);
		return true;
	}
	if (strcmp(name, "totals") == 0) {
		show_totals(connection);
		return true;
	}
	if (strcmp(name, "abort") == 0) {
		if (send_flag(connection->association, SCTP_ABORT, count > 1 ? words[1] : "") < 0)
			emit_error("abort", strerror(errno));
		return true;
	}
	if (strcmp(name, "send") == 0)
		good = parse_send(words, count, job);
	else if (strcmp(name, "reset-out") == 0 || strcmp(name, "reset-in") == 0)
		good = parse_reset(words, count, job);
	else if (strcmp(name, "add") == 0)
		good = parse_add(words, count, job);
	else if (strcmp(name, "reset-tsn") == 0)
		job->kind = JOB_RESET_ASSOCIATION;
	else if (strcmp(name, "shutdown") == 0)
		job->kind = JOB_SHUTDOWN;
	else if (strcmp(name, "wait-dry") == 0)
		job->kind = JOB_WAIT_DRY;
	else
		good = false;
	if (good)
		job_put(job);
	return good;
}

static void run_command(char *line)
{
	static struct job job;
	char original[128];
	char *words[10] = {NULL};
	size_t count = 0;
	char *rest = NULL;
	char **start = words;
	uint32_t id = 0;
	struct connection *connection;

	snprintf(original, sizeof(original), "%s", line);
	memset(&job, 0, sizeof(job));
	for (char *word = strtok_r(line, " \t\r\n", &rest); word != NULL && count < COUNT_OF(words) - 1;
	     word = strtok_r(NULL, " \t\r\n", &rest))
		words[count++] = word;
	if (count == 0)
		return;
	if (run_global(words, count, &job))
		return;
	pthread_mutex_lock(&table_lock);
	id = (uint32_t)current_connection;
	pthread_mutex_unlock(&table_lock);
	if (words[0][0] == '@') {
		if (count < 2 || !parse_number(words[0] + 1, INT32_MAX, &id)) {
			emit_error(original, "bad connection id");
			return;
		}
		start++;
		count--;
	}
	connection = connection_by_id((int)id);
	if (connection == NULL) {
		emit_error(original, "no such connection, or not a command");
		return;
	}
	memset(&job, 0, sizeof(job));
	job.association = connection->association;
	job.connection = connection->id;
	if (!run_on_connection(start, count, connection, &job))
		emit_error(original, "not a command, or its arguments are wrong");
}

/* ---------------------------------------------------------------- start */

enum option_id {
	OPT_LISTEN = 1,
	OPT_CONNECT,
	OPT_INTERLEAVING,
	OPT_NODELAY,
	OPT_NO_PR,
	OPT_NO_RECONFIG,
	OPT_BIND,
	OPT_UDP_PORT,
	OPT_REMOTE,
	OPT_REMOTE_UDP_PORT,
	OPT_PORT,
	OPT_REMOTE_PORT,
	OPT_RESET,
	OPT_OUT_STREAMS,
	OPT_IN_STREAMS,
	OPT_RCVBUF,
	OPT_SNDBUF,
	OPT_RTO_INITIAL,
	OPT_RTO_MIN,
	OPT_RTO_MAX,
	OPT_SACK_DELAY,
	OPT_SACK_FREQUENCY,
	OPT_HEARTBEAT,
	OPT_MAX_RETRANSMITS,
	OPT_MAX_INIT_RETRANSMITS,
	OPT_COOKIE_LIFE,
	OPT_MTU,
	OPT_SCHEDULER,
	OPT_PARTIAL_DELIVERY_POINT,
	OPT_BLACKHOLE,
	OPT_LAST,
};

static const struct option long_options[] = {
	{"listen", no_argument, NULL, OPT_LISTEN},
	{"connect", no_argument, NULL, OPT_CONNECT},
	{"interleaving", no_argument, NULL, OPT_INTERLEAVING},
	{"nodelay", no_argument, NULL, OPT_NODELAY},
	{"no-pr", no_argument, NULL, OPT_NO_PR},
	{"no-reconfig", no_argument, NULL, OPT_NO_RECONFIG},
	{"bind", required_argument, NULL, OPT_BIND},
	{"udp-port", required_argument, NULL, OPT_UDP_PORT},
	{"remote", required_argument, NULL, OPT_REMOTE},
	{"remote-udp-port", required_argument, NULL, OPT_REMOTE_UDP_PORT},
	{"port", required_argument, NULL, OPT_PORT},
	{"remote-port", required_argument, NULL, OPT_REMOTE_PORT},
	{"reset", required_argument, NULL, OPT_RESET},
	{"out-streams", required_argument, NULL, OPT_OUT_STREAMS},
	{"in-streams", required_argument, NULL, OPT_IN_STREAMS},
	{"rcvbuf", required_argument, NULL, OPT_RCVBUF},
	{"sndbuf", required_argument, NULL, OPT_SNDBUF},
	{"rto-initial", required_argument, NULL, OPT_RTO_INITIAL},
	{"rto-min", required_argument, NULL, OPT_RTO_MIN},
	{"rto-max", required_argument, NULL, OPT_RTO_MAX},
	{"sack-delay", required_argument, NULL, OPT_SACK_DELAY},
	{"sack-frequency", required_argument, NULL, OPT_SACK_FREQUENCY},
	{"heartbeat", required_argument, NULL, OPT_HEARTBEAT},
	{"max-retransmits", required_argument, NULL, OPT_MAX_RETRANSMITS},
	{"max-init-retransmits", required_argument, NULL, OPT_MAX_INIT_RETRANSMITS},
	{"cookie-life", required_argument, NULL, OPT_COOKIE_LIFE},
	{"mtu", required_argument, NULL, OPT_MTU},
	{"scheduler", required_argument, NULL, OPT_SCHEDULER},
	{"partial-delivery-point", required_argument, NULL, OPT_PARTIAL_DELIVERY_POINT},
	{"blackhole", required_argument, NULL, OPT_BLACKHOLE},
	{NULL, 0, NULL, 0},
};

static const char usage[] =
	"usrsctp_peer (--listen | --connect) --udp-port N [options]\n"
	"  --bind ADDRESS           local address (127.0.0.1); its family is that of the socket\n"
	"  --port N                 local SCTP port (5000; 0: any)\n"
	"  --remote ADDRESS         (127.0.0.1) --remote-udp-port N (9899) --remote-port N (5000)\n"
	"  --out-streams N --in-streams N\n"
	"  --interleaving           I-DATA (RFC 8260)\n"
	"  --reset LIST             requests answered: streams,assoc,change (RFC 6525)\n"
	"  --no-pr --no-reconfig    leave these extensions out of INIT\n"
	"  --rcvbuf BYTES --sndbuf BYTES\n"
	"  --rto-initial MS --rto-min MS --rto-max MS\n"
	"  --sack-delay MS --sack-frequency PACKETS --nodelay\n"
	"  --heartbeat MS           interval; 0 turns heartbeats off\n"
	"  --max-retransmits N --max-init-retransmits N --cookie-life MS --mtu BYTES\n"
	"  --scheduler N            0 default, 1 rr, 2 rr per packet, 3 priority, 4 fair, 5 fcfs\n"
	"  --partial-delivery-point BYTES\n"
	"  --blackhole N            1, 2: no ABORT for packets out of the blue (0)\n";

/* Values of the options, by option_id; UNSET where not given. */
static int64_t numbers[OPT_LAST];
static const char *texts[OPT_LAST];

__attribute__((noreturn)) static void refuse(const char *what)
{
	fprintf(stderr, "usrsctp_peer: %s\n%s", what, usage);
	exit(2);
}

static void read_options(int argc, char **argv)
{
	int id;

	for (size_t i = 0; i < COUNT_OF(numbers); i++)
		numbers[i] = UNSET;
	while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		uint32_t number;

		if (id <= 0 || id >= OPT_LAST)
			refuse("unknown option");
		if (optarg == NULL) {
			numbers[id] = 1;
		} else if (id == OPT_BIND || id == OPT_REMOTE || id == OPT_RESET) {
			texts[id] = optarg;
		} else if (parse_number(optarg, INT32_MAX, &number)) {
			numbers[id] = number;
		} else {
			refuse("an option wants a number");
		}
	}
	if (optind != argc || numbers[OPT_UDP_PORT] == UNSET)
		refuse("--udp-port is needed, and nothing but options");
}

static bool given(enum option_id id)
{
	return numbers[id] != UNSET;
}

static uint32_t number_or(enum option_id id, uint32_t otherwise)
{
	return given(id) ? (uint32_t)numbers[id] : otherwise;
}

static uint32_t reset_mask(void)
{
	static const char *const names[] = {"streams", "assoc", "change"};
	uint32_t mask = 0;
	char *copy, *rest = NULL;

	if (texts[OPT_RESET] == NULL)
		return 0;
	copy = strdup(texts[OPT_RESET]);
	for (char *word = strtok_r(copy, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
		size_t i = 0;

		while (i < COUNT_OF(names) && strcmp(word, names[i]) != 0)
			i++;
		if (i == COUNT_OF(names))
			refuse("--reset takes streams, assoc, change");
		mask |= 1u << i; /* the order of SCTP_ENABLE_RESET_STREAM_REQ and its sisters */
	}
	free(copy);
	return mask;
}

static void set_value(int option, uint32_t value, const char *name)
{
	struct sctp_assoc_value pair = {.assoc_id = SCTP_FUTURE_ASSOC, .assoc_value = value};

	set_option(option, &pair, sizeof(pair), name);
}

static void set_int(int option, int value, const char *name)
{
	set_option(option, &value, sizeof(value), name);
}

static void set_buffer(int option, enum option_id id, const char *name)
{
	int size = (int)number_or(id, 0);

	if (given(id) && usrsctp_setsockopt(endpoint, SOL_SOCKET, option, &size, sizeof(size)) < 0)
		die(name);
}

static void configure_extensions(void)
{
	if (given(OPT_INTERLEAVING)) {
		/* Level 2 first: the library refuses interleaving to a socket without it. */
		set_int(SCTP_FRAGMENT_INTERLEAVE, 2, "SCTP_FRAGMENT_INTERLEAVE");
		set_value(SCTP_INTERLEAVING_SUPPORTED, 1, "SCTP_INTERLEAVING_SUPPORTED");
	}
	if (given(OPT_NO_PR))
		set_value(SCTP_PR_SUPPORTED, 0, "SCTP_PR_SUPPORTED");
	if (given(OPT_NO_RECONFIG))
		set_value(SCTP_RECONFIG_SUPPORTED, 0, "SCTP_RECONFIG_SUPPORTED");
	if (texts[OPT_RESET] != NULL)
		set_value(SCTP_ENABLE_STREAM_RESET, reset_mask(), "SCTP_ENABLE_STREAM_RESET");
	if (given(OPT_SCHEDULER))
		set_value(SCTP_PLUGGABLE_SS, number_or(OPT_SCHEDULER, 0), "SCTP_PLUGGABLE_SS");
}

/* In all of these, zero means: leave as it is. */
static void configure_protocol(void)
{
	struct sctp_initmsg init = {
		.sinit_num_ostreams = (uint16_t)number_or(OPT_OUT_STREAMS, 0),
		.sinit_max_instreams = (uint16_t)number_or(OPT_IN_STREAMS, 0),
		.sinit_max_attempts = (uint16_t)number_or(OPT_MAX_INIT_RETRANSMITS, 0),
	};
	struct sctp_rtoinfo rto = {
		.srto_initial = number_or(OPT_RTO_INITIAL, 0),
		.srto_min = number_or(OPT_RTO_MIN, 0),
		.srto_max = number_or(OPT_RTO_MAX, 0),
	};
	struct sctp_assocparams association = {
		.sasoc_asocmaxrxt = (uint16_t)number_or(OPT_MAX_RETRANSMITS, 0),
		.sasoc_cookie_life = number_or(OPT_COOKIE_LIFE, 0),
	};
	struct sctp_sack_info sack = {
		.sack_delay = number_or(OPT_SACK_DELAY, 0),
		.sack_freq = number_or(OPT_SACK_FREQUENCY, 0),
	};

	set_option(SCTP_INITMSG, &init, sizeof(init), "SCTP_INITMSG");
	set_option(SCTP_RTOINFO, &rto, sizeof(rto), "SCTP_RTOINFO");
	set_option(SCTP_ASSOCINFO, &association, sizeof(association), "SCTP_ASSOCINFO");
	set_option(SCTP_DELAYED_SACK, &sack, sizeof(sack), "SCTP_DELAYED_SACK");
}

static void configure_path(sa_family_t family)
{
	struct sctp_paddrparams path;

	memset(&path, 0, sizeof(path));
	path.spp_address.ss_family = family;
	if (given(OPT_HEARTBEAT)) {
		path.spp_hbinterval = number_or(OPT_HEARTBEAT, 0);
		path.spp_flags |= path.spp_hbinterval > 0 ? SPP_HB_ENABLE : SPP_HB_DISABLE;
	}
	if (given(OPT_MTU)) {
		path.spp_pathmtu = number_or(OPT_MTU, 0);
		path.spp_flags |= SPP_PMTUD_DISABLE;
	}
	if (path.spp_flags != 0)
		set_option(SCTP_PEER_ADDR_PARAMS, &path, sizeof(path), "SCTP_PEER_ADDR_PARAMS");
}

static void configure_events(void)
{
	static const uint16_t types[] = {
		SCTP_ASSOC_CHANGE,       SCTP_PEER_ADDR_CHANGE,       SCTP_REMOTE_ERROR,
		SCTP_SHUTDOWN_EVENT,     SCTP_ADAPTATION_INDICATION,  SCTP_PARTIAL_DELIVERY_EVENT,
		SCTP_STREAM_RESET_EVENT, SCTP_ASSOC_RESET_EVENT,      SCTP_STREAM_CHANGE_EVENT,
		SCTP_SEND_FAILED_EVENT,
	};

	set_int(SCTP_RECVRCVINFO, 1, "SCTP_RECVRCVINFO");
	for (size_t i = 0; i < COUNT_OF(types); i++)
		if (subscribe(SCTP_FUTURE_ASSOC, types[i], true) < 0)
			die("SCTP_EVENT");
}

/* usrsctp_init() does not tell when it cannot have its port, so ask for the port before it. */
static void check_udp_port(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)number_or(OPT_UDP_PORT, 0)),
	};
	int udp = socket(AF_INET, SOCK_DGRAM, 0);

	if (udp < 0 || bind(udp, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("UDP port");
	close(udp);
}

static void open_endpoint(const union sctp_sockstore *local)
{
	uint32_t point = number_or(OPT_PARTIAL_DELIVERY_POINT, 0);

	check_udp_port();
	usrsctp_init((uint16_t)number_or(OPT_UDP_PORT, 0), NULL, NULL);
	/* By default the library neither makes nor checks CRC32c on loopback: not with us. */
	usrsctp_sysctl_set_sctp_no_csum_on_loopback(0);
	usrsctp_sysctl_set_sctp_blackhole(number_or(OPT_BLACKHOLE, 0));
	endpoint = usrsctp_socket(local->sa.sa_family, SOCK_SEQPACKET, IPPROTO_SCTP, NULL, NULL, 0,
				  NULL);
	if (endpoint == NULL)
		die("usrsctp_socket");
	set_buffer(SO_RCVBUF, OPT_RCVBUF, "SO_RCVBUF");
	set_buffer(SO_SNDBUF, OPT_SNDBUF, "SO_SNDBUF");
	configure_extensions();
	configure_protocol();
	configure_path(local->sa.sa_family);
	configure_events();
	if (given(OPT_NODELAY))
		set_int(SCTP_NODELAY, 1, "SCTP_NODELAY");
	if (given(OPT_PARTIAL_DELIVERY_POINT))
		set_option(SCTP_PARTIAL_DELIVERY_POINT, &point, sizeof(point),
			   "SCTP_PARTIAL_DELIVERY_POINT");
	if (usrsctp_bind(endpoint, (struct sockaddr *)&local->sa, address_size(local)) < 0)
		die("usrsctp_bind");
}

static void start_thread(void *(*function)(void *))
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, function, NULL);
	if (errno != 0)
		die("pthread_create");
	pthread_detach(thread);
}

int main(int argc, char **argv)
{
	static struct job job;
	union sctp_sockstore local;
	char *line = NULL;
	size_t capacity = 0;

	crc32_init();
	read_options(argc, argv);
	if (!parse_address(texts[OPT_BIND] != NULL ? texts[OPT_BIND] : "127.0.0.1",
			   (uint16_t)number_or(OPT_PORT, 5000), &local))
		refuse("--bind takes an IPv4 or IPv6 address");
	job.kind = JOB_CONNECT;
	job.udp_port = (uint16_t)number_or(OPT_REMOTE_UDP_PORT, 9899);
	if (!parse_address(texts[OPT_REMOTE] != NULL ? texts[OPT_REMOTE] : "127.0.0.1",
			   (uint16_t)number_or(OPT_REMOTE_PORT, 5000), &job.address))
		refuse("--remote takes an IPv4 or IPv6 address");
	open_endpoint(&local);
	start_thread(printer);
	emit("{\"event\": \"capabilities\", \"interleaving\": true, \"zero_checksum\": %s, "
	     "\"reconfig\": true, \"pr\": true}",
	     HAVE_ZERO_CHECKSUM ? "true" : "false");
	start_thread(worker);
	start_thread(receiver);
	if (given(OPT_LISTEN)) {
		if (usrsctp_listen(endpoint, 1) < 0)
			die("usrsctp_listen");
		emit("{\"event\": \"listening\", \"udp_port\": %u, \"port\": %u}",
		     number_or(OPT_UDP_PORT, 0), number_or(OPT_PORT, 5000));
	}
	if (given(OPT_CONNECT))
		job_put(&job);
	while (getline(&line, &capacity, stdin) >= 0)
		run_command(line);
	leave(0);
}
