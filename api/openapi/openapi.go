// Package openapi turns the schemas of the platform's services into one OpenAPI 3.1 document.
//
// Connect serves each method as POST /<service>/<method> with a JSON body, so any HTTP client can
// call it; the document says which bodies. It is made from the descriptor set that generation
// leaves beside this file, comments included, so it cannot drift from what is served.
//
// # Boundaries
//
// Unary methods only; the platform has no others on this door.
package openapi

import (
	_ "embed"
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"surety/base/errs"
)

//go:embed schemas.binpb
var schemas []byte

type object = map[string]any

// Document returns the OpenAPI document as indented JSON. The version is that of the program.
func Document(version string) ([]byte, error) {
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(schemas, &set); err != nil {
		return nil, errs.As(errs.Corrupt, err, "openapi.document: schemas")
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return nil, errs.As(errs.Corrupt, err, "openapi.document: schemas")
	}
	paths, messages := object{}, object{"connect.error": connectError()}
	files.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			addService(paths, file.Services().Get(i))
		}
		for i := range file.Messages().Len() {
			addMessage(messages, file.Messages().Get(i))
		}
		return true
	})
	return json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{"title": "Surety", "version": version,
			"description": "Every method is a POST with a JSON body. Amounts are decimal strings of " +
				"minor units, ids 32 hexadecimal digits, instants RFC 3339 in UTC."},
		"paths": paths,
		"components": object{
			"schemas":         messages,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
		},
		"security": []object{{"token": []string{}}},
	}, "", "  ")
}

func addService(paths object, service protoreflect.ServiceDescriptor) {
	for i := range service.Methods().Len() {
		method := service.Methods().Get(i)
		paths["/"+string(service.FullName())+"/"+string(method.Name())] = object{"post": object{
			"operationId": string(service.Name()) + "_" + string(method.Name()),
			"tags":        []string{string(service.Name())},
			"description": comment(method),
			"requestBody": object{"required": true, "content": jsonOf(method.Input())},
			"responses": object{
				"200": object{"description": "done", "content": jsonOf(method.Output())},
				"default": object{"description": "refused or failed", "content": object{
					"application/json": object{"schema": object{"$ref": ref("connect.error")}}}},
			},
		}}
	}
}

func jsonOf(message protoreflect.MessageDescriptor) object {
	return object{"application/json": object{"schema": object{"$ref": ref(string(message.FullName()))}}}
}

func addMessage(messages object, message protoreflect.MessageDescriptor) {
	properties := object{}
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		schema := fieldSchema(field)
		if text := comment(field); text != "" {
			schema["description"] = text
		}
		properties[field.JSONName()] = schema
	}
	schema := object{"type": "object", "properties": properties}
	if text := comment(message); text != "" {
		schema["description"] = text
	}
	messages[string(message.FullName())] = schema
}

func fieldSchema(field protoreflect.FieldDescriptor) object {
	switch {
	case field.IsMap():
		return object{"type": "object", "additionalProperties": kindSchema(field.MapValue())}
	case field.IsList():
		return object{"type": "array", "items": kindSchema(field)}
	}
	return kindSchema(field)
}

// kindSchema follows the JSON mapping of protocol buffers: 64-bit integers are strings.
func kindSchema(field protoreflect.FieldDescriptor) object {
	switch field.Kind() {
	case protoreflect.MessageKind:
		return object{"$ref": ref(string(field.Message().FullName()))}
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return object{"type": "number"}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Uint32Kind:
		return object{"type": "integer"}
	case protoreflect.BytesKind:
		return object{"type": "string", "contentEncoding": "base64"}
	}
	return object{"type": "string"}
}

func connectError() object {
	return object{"type": "object", "properties": object{
		"code":    object{"type": "string", "description": "the kind of error"},
		"message": object{"type": "string", "description": "what was refused or failed, for people"},
		"details": object{"type": "array", "items": object{"type": "object"}},
	}}
}

func ref(name string) string { return "#/components/schemas/" + name }

func comment(d protoreflect.Descriptor) string {
	location := d.ParentFile().SourceLocations().ByDescriptor(d)
	text := location.LeadingComments
	if text == "" {
		text = location.TrailingComments
	}
	return strings.TrimSpace(text)
}
