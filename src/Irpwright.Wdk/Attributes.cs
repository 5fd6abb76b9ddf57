namespace Irpwright.Wdk;

/// <summary>
/// Marks a structure with the exact x64 Windows layout. Its pointer type is generated beside it: for <c>IRP</c>, <c>PIRP</c>
/// with a <c>ref</c> property per public field.
/// </summary>
[AttributeUsage(AttributeTargets.Struct)]
public sealed class LayoutAttribute : Attribute;

/// <summary>
/// Marks the signature of a routine that drivers hand to the kernel, or the other way round. Its code pointer type is generated
/// beside it: for <c>DRIVER_DISPATCH</c>, <c>PDRIVER_DISPATCH</c>.
/// </summary>
[AttributeUsage(AttributeTargets.Delegate)]
public sealed class RoutineAttribute : Attribute;

/// <summary>
/// Makes a partial struct the guest pointer to <paramref name="pointee"/>: a simple type, or a driver's own structure, whose public
/// fields it then has as <c>ref</c> properties.
/// </summary>
/// <example>
/// What C writes as <c>typedef struct _RETRY_CONTEXT { ULONG RetriesLeft; } RETRY_CONTEXT, *PRETRY_CONTEXT;</c>
/// <code>
/// struct RETRY_CONTEXT { public uint RetriesLeft; }
///
/// [PointerTo(typeof(RETRY_CONTEXT))] readonly partial struct PRETRY_CONTEXT;
/// </code>
/// </example>
[AttributeUsage(AttributeTargets.Struct)]
public sealed class PointerToAttribute(Type pointee) : Attribute
{
    public Type Pointee { get; } = pointee;
}

/// <summary>
/// Marks a layout field whose name every pointer type already uses (<c>Address</c>, <c>Value</c>): it has no property there and is
/// reached as <c>pointer.Value.Address</c>.
/// </summary>
[AttributeUsage(AttributeTargets.Field)]
public sealed class ThroughValueAttribute : Attribute;
