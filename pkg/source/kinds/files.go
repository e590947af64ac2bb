package kinds

import (
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/source/files"
	"drayage/pkg/source/files/store/azure"
	"drayage/pkg/source/files/store/gcs"
	"drayage/pkg/source/files/store/s3"
	"drayage/pkg/source/files/store/web"
	"drayage/pkg/source/files/stores"
)

// newFiles makes a source of files, of this machine and of stores.
func newFiles(s *pipeline.Source, env Env) (source.Source, error) {
	f := s.Files
	far := stores.Config{
		S3: s3.Config{
			Endpoint: f.S3.Endpoint, Region: f.S3.Region, Profile: f.S3.Profile,
			AccessKey: f.S3.AccessKey, SecretKey: f.S3.SecretKey, SessionToken: f.S3.SessionToken,
			Anonymous: f.S3.Anonymous, PathStyle: f.S3.PathStyle,
		},
		GCS: gcs.Config{
			Endpoint: f.GCS.Endpoint, CredentialsFile: f.GCS.CredentialsFile,
			Anonymous: f.GCS.Anonymous, UserProject: f.GCS.UserProject,
		},
		Azure: azure.Config{
			Account: f.Azure.Account, Endpoint: f.Azure.Endpoint, ConnectionString: f.Azure.ConnectionString,
			AccountKey: f.Azure.AccountKey, SASToken: f.Azure.SASToken, Anonymous: f.Azure.Anonymous,
		},
		Web:   web.Config{Headers: f.HTTP.Headers},
		Seats: env.Seats,
		Allow: env.Allow,
	}
	if err := far.Validate(); err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	cfg := files.Config{
		Paths: f.Path, Dir: env.Dir, Allow: env.Allow, Stores: far.Openers(), Seen: env.Seen,
		Format: f.Format, Compression: f.Compression,
		Header: f.Header, Delimiter: f.Delimiter, Quote: f.Quote, SkipLines: f.SkipLines,
		Regexp: f.Regexp, Columns: s.Columns, Settings: f.Settings,
		ChunkBytes: int64(s.Chunk),
	}
	if m := f.Multiline; m != nil {
		cfg.Multiline = &files.Multiline{Begin: m.Begin, Max: int64(m.Max)}
	}
	return files.New(cfg)
}

// Declared are the columns of a pipeline's source, when the pipeline alone says
// all of them; nil when the source is to be asked.
func Declared(p *pipeline.Pipeline) []job.Column {
	if p.Source.Files == nil {
		return p.Source.Columns
	}
	return files.Config{Format: p.Source.Files.Format, Regexp: p.Source.Files.Regexp, Columns: p.Source.Columns}.Declared()
}
