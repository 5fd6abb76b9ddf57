namespace Irpwright.Testing;

/// <summary>Names the requirement of the I/O specification that a test pins, such as <c>CMP-06</c>.</summary>
/// <param name="id">Id as listed in docs/conformance.md.</param>
[AttributeUsage(AttributeTargets.Method | AttributeTargets.Class, AllowMultiple = true)]
public sealed class SpecAttribute(string id) : Attribute
{
    public string Id { get; } = id;
}
