namespace Irpwright.Wdk;

/// <summary>Processor mode of a requestor; <c>KPROCESSOR_MODE</c> in declarations.</summary>
public enum MODE : sbyte
{
    KernelMode = 0,
    UserMode = 1,
    MaximumMode = 2,
}
