package scim

import (
	"net/http"
	"strings"

	"jit-gateway/internal/store"
)

// providerConfig says what is offered (RFC 7643 section 5).
func (c *call) providerConfig() error {
	no := resource{"supported": false}
	return c.answer(http.StatusOK, resource{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"},
		"patch":   resource{"supported": true}, "bulk": resource{"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
		"filter": resource{"supported": true, "maxResults": maxPage}, "changePassword": no, "sort": no, "etag": resource{"supported": true},
		"authenticationSchemes": []any{resource{"type": "oauthbearertoken", "name": "Bearer token", "description": "A token of the gateway's configuration", "primary": true}},
		"meta":                  resource{"resourceType": "ServiceProviderConfig", "location": c.s.o.URL + Path + "/ServiceProviderConfig"},
	})
}

func (c *call) resourceTypes() error {
	kind := func(name, schema string) resource {
		return resource{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"}, "id": name, "name": name, "endpoint": "/" + name + "s",
			"description": name, "schema": schema, "meta": resource{"resourceType": "ResourceType", "location": c.s.o.URL + Path + "/ResourceTypes/" + name}}
	}
	return c.fixed([]resource{kind("User", userSchema), kind("Group", groupSchema)})
}

func (c *call) schemas() error {
	attr := func(name, kind string, more resource, sub ...resource) resource {
		a := resource{"name": name, "type": kind, "multiValued": false, "description": "", "required": false, "caseExact": false,
			"mutability": "readWrite", "returned": "default", "uniqueness": "none"}
		for k, v := range more {
			a[k] = v
		}
		if len(sub) > 0 {
			a["subAttributes"] = sub
		}
		return a
	}
	many := resource{"multiValued": true}
	schema := func(id, name string, attrs ...resource) resource {
		return resource{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"}, "id": id, "name": name, "description": name, "attributes": attrs,
			"meta": resource{"resourceType": "Schema", "location": c.s.o.URL + Path + "/Schemas/" + id}}
	}
	return c.fixed([]resource{
		schema(userSchema, "User",
			attr("userName", "string", resource{"required": true, "uniqueness": "server"}),
			attr("displayName", "string", nil), attr("active", "boolean", nil),
			attr("name", "complex", nil, attr("formatted", "string", nil), attr("givenName", "string", resource{"mutability": "writeOnly", "returned": "never"}), attr("familyName", "string", resource{"mutability": "writeOnly", "returned": "never"})),
			attr("emails", "complex", many, attr("value", "string", nil), attr("type", "string", nil), attr("primary", "boolean", nil)),
			attr("groups", "complex", resource{"multiValued": true, "mutability": "readOnly"}, attr("value", "string", nil), attr("display", "string", nil))),
		schema(groupSchema, "Group",
			attr("displayName", "string", resource{"required": true, "mutability": "immutable", "uniqueness": "server"}),
			attr("members", "complex", many, attr("value", "string", resource{"mutability": "immutable"}), attr("type", "string", resource{"canonicalValues": []string{"User"}}), attr("display", "string", nil))),
	})
}

// fixed sends a list that never changes, or the one of it that is asked for.
func (c *call) fixed(all []resource) error {
	want := c.r.PathValue("id")
	if want == "" {
		return sendPage(c, all, func(r resource) (resource, error) { return r, nil })
	}
	for _, r := range all {
		if id, _ := r["id"].(string); strings.EqualFold(id, want) {
			return c.answer(http.StatusOK, r)
		}
	}
	return store.ErrNotFound
}
