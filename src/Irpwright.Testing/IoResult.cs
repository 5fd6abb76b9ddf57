using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>How a request ended.</summary>
/// <param name="Status">Its final status.</param>
/// <param name="Information">Usually the number of bytes transferred.</param>
public readonly record struct IoResult(NTSTATUS Status, ulong Information)
{
    public override string ToString() => $"{Status.Name}  {Information} bytes";
}
