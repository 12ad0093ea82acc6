package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"staithe/internal/station"
)

// Place is where the objects are.
type Place struct {
	Endpoint  string // http(s)://host[:port], or host[:port] for https; empty: Amazon's
	Bucket    string
	Prefix    string // of the keys
	AccessKey string // empty: the bucket is public
	SecretKey string
	Region    string // empty or auto: found out
	PathStyle bool
}

// ParsePlace reads s3://bucket/prefix. The error wraps station.ErrInvalid.
func ParsePlace(text string) (bucket, prefix string, err error) {
	rest, ok := strings.CutPrefix(text, "s3://")
	bucket, prefix, _ = strings.Cut(rest, "/")
	if !ok || bucket == "" || strings.ContainsAny(bucket, "@:?#") {
		return "", "", station.Errorf(station.ErrInvalid, "bad_bucket", "Name the bucket as s3://BUCKET or s3://BUCKET/PREFIX.")
	}
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return bucket, prefix, nil
}

// store reads one bucket.
type store struct {
	c     *minio.Client
	place Place
}

func open(p Place) (*store, error) {
	host, secure := p.Endpoint, true
	if host == "" {
		host = "s3.amazonaws.com"
	}
	if strings.Contains(host, "://") {
		u, err := url.Parse(host)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, station.Errorf(station.ErrInvalid, "bad_endpoint", "S3_ENDPOINT is not https://HOST[:PORT]; correct it.")
		}
		host, secure = u.Host, u.Scheme == "https"
	}
	o := &minio.Options{Secure: secure, BucketLookup: minio.BucketLookupDNS}
	if p.PathStyle {
		o.BucketLookup = minio.BucketLookupPath
	}
	if p.Region != "auto" {
		o.Region = p.Region
	}
	if p.AccessKey != "" {
		o.Creds = credentials.NewStaticV4(p.AccessKey, p.SecretKey, "")
	}
	c, err := minio.New(host, o)
	if err != nil {
		return nil, station.Errorf(station.ErrInvalid, "bad_endpoint", "The S3 store's address cannot be used; correct S3_ENDPOINT.").Because(err)
	}
	return &store{c, p}, nil
}

// Any says whether there is any object at a place.
func Any(ctx context.Context, p Place) (bool, error) {
	s, err := open(p)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the list
	for o := range s.c.ListObjects(ctx, p.Bucket, minio.ListObjectsOptions{Prefix: p.Prefix, Recursive: true, MaxKeys: 1}) {
		return o.Err == nil, explain(o.Err)
	}
	return false, nil
}

// explain says what a store's refusal means.
func explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	switch r := minio.ToErrorResponse(err); r.Code {
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch":
		return station.Errorf(station.ErrForbidden, "bucket_refused", "The bucket refuses these credentials (%s); check S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and S3_REGION.", r.Code).Because(err)
	case "NoSuchBucket":
		return station.Errorf(station.ErrNotFound, "no_bucket", "There is no such bucket; check its name, S3_ENDPOINT and S3_PATH_STYLE.").Because(err)
	}
	return fmt.Errorf("the bucket: %w", err)
}

func (s *store) list(ctx context.Context, found func(int)) (all []Object, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for o := range s.c.ListObjects(ctx, s.place.Bucket, minio.ListObjectsOptions{Prefix: s.place.Prefix, Recursive: true}) {
		if o.Err != nil {
			return nil, explain(o.Err)
		}
		all = append(all, Object{Key: o.Key, Size: o.Size, At: o.LastModified})
		found(len(all))
	}
	return all, ctx.Err()
}

func (s *store) meta(ctx context.Context, key string) (meta, error) {
	info, err := s.c.StatObject(ctx, s.place.Bucket, key, minio.StatObjectOptions{})
	return readMeta(info.UserMetadata), explain(err)
}

// get is an object's content, its size and what is said of it, at one moment.
func (s *store) get(ctx context.Context, key string) (io.ReadCloser, Object, meta, error) {
	r, info, _, err := (&minio.Core{Client: s.c}).GetObject(ctx, s.place.Bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, Object{}, meta{}, explain(err)
	}
	m := info.UserMetadata
	if len(m) == 0 {
		m = map[string]string{}
		for k, v := range info.Metadata {
			if name, ok := strings.CutPrefix(strings.ToLower(k), "x-amz-meta-"); ok && len(v) > 0 {
				m[name] = v[0]
			}
		}
	}
	return r, Object{Key: key, Size: info.Size, At: info.LastModified}, readMeta(m), nil
}
