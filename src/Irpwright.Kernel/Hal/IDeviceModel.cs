namespace Irpwright.Kernel;

/// <summary>The hardware that a driver drives: what its registers answer and what writing them does.</summary>
/// <remarks>
/// Connected to ports or physical memory by <see cref="Hardware"/>, which never calls one model from two threads at once. A model
/// raises an interrupt through its <see cref="InterruptPin"/>, and acts later through <see cref="Hardware.After"/>; it never calls
/// the kernel.
/// </remarks>
public interface IDeviceModel
{
    /// <summary>A driver reads.</summary>
    /// <param name="offset">Bytes from the beginning of the range that the model is connected to.</param>
    /// <param name="size">1, 2, 4 or 8 bytes.</param>
    ulong Read(ulong offset, int size);

    /// <summary>A driver writes the low <paramref name="size"/> bytes of a value.</summary>
    /// <inheritdoc cref="Read"/>
    void Write(ulong offset, int size, ulong value);
}
