// Program sdk is Viam's Go SDK (go.viam.com/rdk/app) behind the line protocol of foreign/driver.py: one call of ours is one call
// of the SDK. What the SDK has not, it does not get here either.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"go.viam.com/rdk/app"
	"go.viam.com/rdk/logging"
	"go.viam.com/utils/rpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type request struct {
	Call          string            `json:"call"`
	URL           string            `json:"url"`
	KeyID         string            `json:"key_id"`
	Key           *string           `json:"key"`
	ID            string            `json:"id"`
	Organization  string            `json:"organization"`
	Status        int               `json:"status"`
	Dataset       string            `json:"dataset"`
	Script        string            `json:"script"`
	ScriptVersion string            `json:"script_version"`
	Model         string            `json:"model"`
	ModelVersion  string            `json:"model_version"`
	ModelType     string            `json:"model_type"`
	Tags          []string          `json:"tags"`
	Arguments     map[string]string `json:"arguments"`
}

var errUnsupported = errors.New("the SDK has no such call")

var codeNames = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
	"UNAUTHENTICATED",
}

var (
	statusNames    = []string{"UNSPECIFIED", "PENDING", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELED", "CANCELING"}
	typeNames      = []string{"UNSPECIFIED", "SINGLE_LABEL_CLASSIFICATION", "MULTI_LABEL_CLASSIFICATION", "OBJECT_DETECTION"}
	frameworkNames = []string{"UNSPECIFIED", "TFLITE", "TENSORFLOW", "PYTORCH", "ONNX"}
)

// asJSON names the fields of the SDK's own struct as the proto3 JSON mapping does.
func asJSON(job *app.TrainingJobMetadata) map[string]any {
	said := map[string]any{
		"id": job.ID, "datasetId": job.DatasetID, "organizationId": job.OrganizationID, "modelName": job.ModelName,
		"modelVersion": job.ModelVersion, "isCustomJob": job.IsCustomJob, "registryItemId": job.RegistryItemID,
		"registryItemVersion": job.RegistryItemVersion, "syncedModelId": job.SyncedModelID, "tags": job.Tags,
		"status":         "TRAINING_STATUS_" + statusNames[job.Status],
		"modelType":      "MODEL_TYPE_" + typeNames[job.ModelType],
		"modelFramework": "MODEL_FRAMEWORK_" + frameworkNames[job.ModelFramework],
	}
	moments := map[string]*time.Time{"createdOn": job.CreatedOn, "lastModified": job.LastModified,
		"trainingStarted": job.TrainingStarted, "trainingEnded": job.TrainingEnded}
	for name, moment := range moments {
		if moment != nil {
			said[name] = moment.Format(time.RFC3339Nano)
		}
	}
	if job.ErrorStatus != nil {
		said["errorStatus"] = map[string]any{"code": job.ErrorStatus.Code, "message": job.ErrorStatus.Message}
	}
	return said
}

type calls struct {
	training *app.MLTrainingClient
	app      *app.AppClient
}

func (c *calls) open(ctx context.Context, r request) error {
	// The SDK appends ":443" to a base URL that does not end in it. Behind a slash that is a path, which it leaves alone.
	options := app.Options{BaseURL: r.URL + "/", DialOptions: []rpc.DialOption{rpc.WithInsecure()}}
	if r.Key != nil {
		options.DialOptions = append(options.DialOptions, rpc.WithAllowInsecureWithCredentialsDowngrade(),
			rpc.WithEntityCredentials(r.KeyID, rpc.Credentials{Type: rpc.CredentialsTypeAPIKey, Payload: *r.Key}))
	}
	client, err := app.CreateViamClientWithOptions(ctx, options, logging.NewBlankLogger("sdk"))
	if err != nil {
		return err
	}
	c.training, c.app = client.MLTrainingClient(), client.AppClient()
	return nil
}

func (c *calls) logs(ctx context.Context, id string) (any, error) {
	entries, token := []map[string]any{}, ""
	for {
		page, next, err := c.training.GetTrainingJobLogs(ctx, id, &app.GetTrainingJobLogsOptions{PageToken: &token})
		if err != nil {
			return nil, err
		}
		for _, entry := range page {
			entries = append(entries, map[string]any{"level": entry.Level, "message": entry.Message, "time": entry.Time})
		}
		if token = next; token == "" {
			return entries, nil
		}
	}
}

func (c *calls) list(ctx context.Context, organization string, status app.TrainingStatus) (any, error) {
	jobs, err := c.training.ListTrainingJobs(ctx, organization, status)
	said := []map[string]any{}
	for _, job := range jobs {
		said = append(said, asJSON(job))
	}
	return said, err
}

func (c *calls) organizations(ctx context.Context) (any, error) {
	organizations, err := c.app.ListOrganizations(ctx)
	said := []map[string]any{}
	for _, one := range organizations {
		said = append(said, map[string]any{"id": one.ID, "name": one.Name})
	}
	return said, err
}

func modelType(name string) app.ModelType {
	for number, known := range typeNames {
		if name == known {
			return app.ModelType(number)
		}
	}
	return app.ModelTypeUnspecified
}

func (c *calls) do(ctx context.Context, r request) (any, error) {
	job := app.SubmitTrainingJobArgs{DatasetID: r.Dataset, OrganizationID: r.Organization, ModelName: r.Model, ModelVersion: r.ModelVersion}
	switch r.Call {
	case "open":
		return nil, c.open(ctx, r)
	case "organizations":
		return c.organizations(ctx)
	case "submit":
		return c.training.SubmitCustomTrainingJob(ctx, job, r.Script, r.ScriptVersion, r.Arguments)
	case "submit_managed":
		return c.training.SubmitTrainingJob(ctx, job, modelType(r.ModelType), r.Tags)
	case "get":
		job, err := c.training.GetTrainingJob(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		return asJSON(job), nil
	case "list":
		return c.list(ctx, r.Organization, app.TrainingStatus(r.Status))
	case "logs":
		return c.logs(ctx, r.ID)
	case "cancel":
		return nil, c.training.CancelTrainingJob(ctx, r.ID)
	case "delete":
		return nil, c.training.DeleteCompletedTrainingJob(ctx, r.ID)
	}
	return nil, errUnsupported
}

func answer(said any, err error) map[string]any {
	if errors.Is(err, errUnsupported) {
		return map[string]any{"unsupported": err.Error()}
	}
	if err == nil {
		return map[string]any{"ok": said}
	}
	told, ok := status.FromError(err)
	if !ok || told.Code() == codes.OK {
		return map[string]any{"error": map[string]string{"code": "CLIENT", "message": err.Error()}}
	}
	return map[string]any{"error": map[string]string{"code": codeNames[told.Code()], "message": told.Message()}}
}

func main() {
	client, lines, out := calls{}, bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := out.Encode(answer(client.do(context.Background(), r))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
