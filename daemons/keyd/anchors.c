/* SPDX-License-Identifier: ISC */
#include "daemons/keyd/anchors.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "ipc/bounds.h"

void
anchors_init(struct anchors *a)
{
	list_init(&a->list);
	a->n = 0;
}

void
anchors_free(struct anchors *a)
{
	struct list *node;

	while ((node = list_shift(&a->list))) {
		struct anchor *one = OWNER_OF(node, struct anchor, node);

		buf_free(&one->pem);
		free(one);
	}
	a->n = 0;
}

void
anchors_take(struct anchors *to, struct anchors *from)
{
	struct list *node;

	anchors_free(to);
	while ((node = list_shift(&from->list)))
		list_push(&to->list, node);
	to->n = from->n;
	from->n = 0;
}

/* Written out again, so that nothing else of the file leaves this process. */
static bool
add(struct anchors *a, X509 *certificate)
{
	struct anchor *one = a->n < ANCHORS_MAX ? calloc(1, sizeof(*one)) : NULL;
	BIO *to = BIO_new(BIO_s_mem());
	char *text = NULL;
	bool ok = one && to && PEM_write_bio_X509(to, certificate);

	if (ok) {
		long n = BIO_get_mem_data(to, &text);

		buf_init(&one->pem, IPC_DATA_MAX);
		buf_put(&one->pem, span_of(text, (size_t)n));
		ok = buf_ok(&one->pem);
	}
	BIO_free(to);
	if (ok) {
		list_push(&a->list, &one->node);
		a->n++;
	} else if (one) {
		buf_free(&one->pem);
		free(one);
	}
	return ok;
}

bool
anchors_read(struct anchors *a, struct span pem, struct fail *why)
{
	BIO *from = pem.n <= ANCHORS_FILE_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
	struct anchors fresh;
	X509 *certificate;
	bool ok = from != NULL, whole;

	anchors_init(&fresh);
	while (ok && (certificate = PEM_read_bio_X509(from, NULL, NULL, NULL))) {
		ok = add(&fresh, certificate);
		X509_free(certificate);
	}
	whole = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE; /* the end, and not one that is broken */
	ERR_clear_error();
	BIO_free(from);
	if (ok && whole && fresh.n) {
		struct list *node;

		while ((node = list_shift(&fresh.list)))
			list_push(&a->list, node);
		a->n += fresh.n;
		return true;
	}
	anchors_free(&fresh);
	return fail_set(why, FAIL_PERM, 0, ok ? "no certificate, or one that cannot be read, is in it" : "too large, or too many certificates");
}
