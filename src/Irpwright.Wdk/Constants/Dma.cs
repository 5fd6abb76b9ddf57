namespace Irpwright.Wdk;

/// <summary>What a DRIVER_CONTROL routine wants done with the adapter it was given.</summary>
public enum IO_ALLOCATION_ACTION
{
    KeepObject = 1,
    DeallocateObject,
    DeallocateObjectKeepRegisters,
}

/// <summary><c>DEVICE_DESCRIPTION.DmaWidth</c>: how much one cycle of the system DMA controller moves.</summary>
public enum DMA_WIDTH
{
    Width8Bits,
    Width16Bits,
    Width32Bits,
    Width64Bits,
    WidthNoWrap,
    MaximumDmaWidth,
}

/// <summary><c>DEVICE_DESCRIPTION.DmaSpeed</c>.</summary>
public enum DMA_SPEED
{
    Compatible,
    TypeA,
    TypeB,
    TypeC,
    TypeF,
    MaximumDmaSpeed,
}

public static partial class Constants
{
    public const uint DEVICE_DESCRIPTION_VERSION = 0;

    public const uint DEVICE_DESCRIPTION_VERSION1 = 1;

    public const uint DEVICE_DESCRIPTION_VERSION2 = 2;

    public const uint DEVICE_DESCRIPTION_VERSION3 = 3;
}
