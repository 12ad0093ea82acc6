package restic

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// keyStore is where a repository's key files are. A file is there whole or not at
// all; errors of what is not there wrap fs.ErrNotExist.
type keyStore interface {
	list(ctx context.Context) ([]string, error)
	get(ctx context.Context, name string) ([]byte, error)
	put(ctx context.Context, name string, b []byte) error
	remove(ctx context.Context, name string) error
}

func (r *Repo) keyFiles() (keyStore, error) {
	if r.o.Bucket.Name == "" {
		return keyFolder(filepath.Join(r.o.Path, "keys")), nil
	}
	b := r.o.Bucket
	host, secure := strings.TrimSuffix(b.Endpoint, "/"), true
	if host == "" {
		host = "s3.amazonaws.com"
	}
	if strings.Contains(host, "://") {
		u, err := url.Parse(host)
		if err != nil {
			return nil, err
		}
		host, secure = u.Host, u.Scheme == "https"
	}
	o := &minio.Options{Secure: secure, BucketLookup: minio.BucketLookupDNS, Creds: credentials.NewStaticV4(b.AccessKey, b.SecretKey, "")}
	if b.PathStyle {
		o.BucketLookup = minio.BucketLookupPath
	}
	if b.Region != "auto" {
		o.Region = b.Region
	}
	// What restic runs in has no proxy either.
	transport, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, err
	}
	transport.Proxy = nil
	o.Transport = transport
	c, err := minio.New(host, o)
	return &keyObjects{c, b.Name, path.Join(b.Prefix, r.o.Path, "keys") + "/"}, err
}

type keyFolder string

func (f keyFolder) list(context.Context) ([]string, error) {
	entries, err := os.ReadDir(string(f))
	var names []string
	for _, e := range entries {
		if keyFileName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (f keyFolder) get(_ context.Context, name string) ([]byte, error) {
	file, err := os.Open(filepath.Join(string(f), name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, keyFileMost))
}

func (f keyFolder) put(_ context.Context, name string, b []byte) error {
	// restic leaves names alone that are no hash.
	tmp := filepath.Join(string(f), name+"-tmp-"+rand.Text()[:8])
	file, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	defer os.Remove(tmp) // gone after the rename
	_, err = file.Write(b)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(string(f), name))
}

func (f keyFolder) remove(_ context.Context, name string) error {
	return os.Remove(filepath.Join(string(f), name))
}

type keyObjects struct {
	c              *minio.Client
	bucket, prefix string
}

func (k *keyObjects) list(ctx context.Context) (names []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the list
	for o := range k.c.ListObjects(ctx, k.bucket, minio.ListObjectsOptions{Prefix: k.prefix, Recursive: true}) {
		if o.Err != nil {
			return nil, o.Err
		}
		if name := strings.TrimPrefix(o.Key, k.prefix); keyFileName.MatchString(name) {
			names = append(names, name)
		}
		if len(names) > keyFilesMost {
			break
		}
	}
	return names, ctx.Err()
}

func (k *keyObjects) get(ctx context.Context, name string) ([]byte, error) {
	o, err := k.c.GetObject(ctx, k.bucket, k.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer o.Close()
	b, err := io.ReadAll(io.LimitReader(o, keyFileMost))
	if minio.ToErrorResponse(err).Code == "NoSuchKey" {
		return nil, errors.Join(fs.ErrNotExist, err)
	}
	return b, err
}

func (k *keyObjects) put(ctx context.Context, name string, b []byte) error {
	_, err := k.c.PutObject(ctx, k.bucket, k.prefix+name, bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{})
	return err
}

func (k *keyObjects) remove(ctx context.Context, name string) error {
	return k.c.RemoveObject(ctx, k.bucket, k.prefix+name, minio.RemoveObjectOptions{})
}
