namespace Irpwright.Samples;

/// <summary>
/// A software device that handles bad buffers and bad numbers by structured exceptions. Twin of <c>seh.c</c>.
/// </summary>
/// <remarks>
/// \Device\Seh0 (\DosDevices\Seh0) takes its control requests with METHOD_NEITHER: the driver is given user addresses as they are,
/// and whatever lies there can be gone at any time. So every access is inside try; ProbeForRead and ProbeForWrite only make sure
/// that the addresses are user addresses. In C#, __try is try, __except is catch (NtStatusException) with a filter behind when,
/// __finally is finally. What C# does not have is EXCEPTION_CONTINUE_EXECUTION: there the twin tries again in a loop.
/// <para>Pattern: "Handling exceptions", "Errors in referencing user-space addresses".</para>
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/handling-exceptions"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/errors-in-referencing-user-space-addresses"/>
public sealed class Seh : WdmDriver
{
    const string SEH_DEVICE_NAME = @"\Device\Seh0";
    const string SEH_LINK_NAME = @"\DosDevices\Seh0";
    const uint SEH_LARGEST_RANGE = 0x10000;
    const uint SEH_MOST_RETRIES = 1000;
    const NTSTATUS STATUS_SEH_RETRY = unchecked((NTSTATUS)0xE0534548);

    /// <summary>Input: SEH_RANGE. Adds up the bytes of the range, which is user memory too. Output: ULONG.</summary>
    public static readonly uint IOCTL_SEH_SUM = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_NEITHER, FILE_ANY_ACCESS);

    /// <summary>Input: two LONGs. Divides the first by the second. Output: LONG.</summary>
    public static readonly uint IOCTL_SEH_DIVIDE = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_NEITHER, FILE_ANY_ACCESS);

    /// <summary>Input: NTSTATUS. A routine two calls down raises it; a finally on the way releases the lock.</summary>
    public static readonly uint IOCTL_SEH_RAISE = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_NEITHER, FILE_ANY_ACCESS);

    /// <summary>Input: ULONG. Raises an exception that is taken back that many times. Output: ULONG, the count.</summary>
    public static readonly uint IOCTL_SEH_RETRY = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x803, METHOD_NEITHER, FILE_ANY_ACCESS);

    /// <summary>
    /// Leaves try blocks by return, by an exception out of a finally, and at their end. Output: ULONG, a digit for each handler
    /// in the order in which they ran.
    /// </summary>
    public static readonly uint IOCTL_SEH_CLEANUP = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x804, METHOD_NEITHER, FILE_ANY_ACCESS);

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        PUNICODE_STRING deviceName = RTL_CONSTANT_STRING(SEH_DEVICE_NAME);
        PUNICODE_STRING linkName = RTL_CONSTANT_STRING(SEH_LINK_NAME);

        NTSTATUS status = IoCreateDevice(DriverObject, SizeOf<SEH_EXTENSION>(), deviceName, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
            false, out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        status = IoCreateSymbolicLink(linkName, deviceName);
        if (!status.IsSuccess)
        {
            IoDeleteDevice(deviceObject);
            return status;
        }

        var extension = (PSEH_EXTENSION)deviceObject.DeviceExtension;
        KeInitializeMutex(PKMUTEX.To(ref extension.Lock), 0);

        DriverObject.MajorFunction[IRP_MJ_CREATE] = Routine(SehDispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_CLOSE] = Routine(SehDispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_DEVICE_CONTROL] = Routine(SehDispatchControl);
        DriverObject.DriverUnload = Routine(SehUnload);

        deviceObject.Flags &= ~DO_DEVICE_INITIALIZING;

        return STATUS_SUCCESS;
    }

    void SehUnload(PDRIVER_OBJECT DriverObject)
    {
        PUNICODE_STRING linkName = RTL_CONSTANT_STRING(SEH_LINK_NAME);

        IoDeleteSymbolicLink(linkName);
        IoDeleteDevice(DriverObject.DeviceObject);
    }

    NTSTATUS SehDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        Irp.IoStatus.Status = STATUS_SUCCESS;
        Irp.IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return STATUS_SUCCESS;
    }

    // Called in the requesting thread, below DISPATCH_LEVEL: only there do user addresses mean anything.
    NTSTATUS SehDispatchControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PSEH_EXTENSION)DeviceObject.DeviceExtension;
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
        PVOID input = location.Parameters.DeviceIoControl.Type3InputBuffer;
        uint inputLength = location.Parameters.DeviceIoControl.InputBufferLength;
        uint outputLength = location.Parameters.DeviceIoControl.OutputBufferLength;
        uint code = location.Parameters.DeviceIoControl.IoControlCode;
        uint result = 0;
        NTSTATUS status = STATUS_INVALID_DEVICE_REQUEST;

        Irp.IoStatus.Information = 0;

        if (code == IOCTL_SEH_SUM)
        {
            status = SehSum(input, inputLength, ref result);
        }
        else if (code == IOCTL_SEH_DIVIDE)
        {
            status = SehDivide(input, inputLength, ref result);
        }
        else if (code == IOCTL_SEH_RAISE)
        {
            status = SehRaise(extension, input, inputLength);
            outputLength = 0;
        }
        else if (code == IOCTL_SEH_RETRY)
        {
            status = SehRetry(input, inputLength, ref result);
        }
        else if (code == IOCTL_SEH_CLEANUP)
        {
            status = SehCleanup(ref result);
        }

        if (status.IsSuccess && outputLength != 0)
        {
            status = SehStore(Irp.UserBuffer, outputLength, result, ref Irp.IoStatus.Information);
        }

        Irp.IoStatus.Status = status;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return status;
    }

    NTSTATUS SehStore(PVOID Output, uint OutputLength, uint Value, ref ulong Information)
    {
        if (OutputLength < sizeof(uint))
        {
            return STATUS_BUFFER_TOO_SMALL;
        }

        try
        {
            ProbeForWrite(Output, sizeof(uint), 1);
            ((PULONG)Output).Value = Value;
        }
        catch (NtStatusException e)
        {
            return e.Status;
        }

        Information = sizeof(uint);

        return STATUS_SUCCESS;
    }

    NTSTATUS SehSum(PVOID Input, uint InputLength, ref uint Sum)
    {
        uint sum = 0;

        if (InputLength != SizeOf<SEH_RANGE>())
        {
            return STATUS_INVALID_PARAMETER;
        }

        try
        {
            // The request can be changed while it is looked at: it is copied once, and the copy is used.
            ProbeForRead(Input, SizeOf<SEH_RANGE>(), 8);
            SEH_RANGE range = ((PSEH_RANGE)Input).Value;

            if (range.Length > SEH_LARGEST_RANGE)
            {
                ExRaiseStatus(STATUS_INVALID_BUFFER_SIZE);
            }

            ProbeForRead(range.Start, range.Length, 1);
            for (int i = 0; i < range.Length; i++)
            {
                sum += range.Start[i];
            }
        }
        catch (NtStatusException e)
        {
            return e.Status;
        }

        Sum = sum;

        return STATUS_SUCCESS;
    }

    NTSTATUS SehDivide(PVOID Input, uint InputLength, ref uint Quotient)
    {
        var numbers = (PULONG)Input;

        if (InputLength != 2 * sizeof(int))
        {
            return STATUS_INVALID_PARAMETER;
        }

        try
        {
            try
            {
                ProbeForRead(Input, InputLength, 1);
                Quotient = (uint)((int)numbers[0] / (int)numbers[1]);
            }
            catch (DivideByZeroException)
            {
                return STATUS_INVALID_PARAMETER_2;
            }
            catch (OverflowException)
            {
                return STATUS_INTEGER_OVERFLOW;
            }
        }
        catch (NtStatusException e) when (e.Status == STATUS_ACCESS_VIOLATION)
        {
            return STATUS_INVALID_USER_BUFFER;
        }

        return STATUS_SUCCESS;
    }

    void SehRaiseLocked(PSEH_EXTENSION Extension, NTSTATUS Status)
    {
        KeWaitForSingleObject(PKMUTEX.To(ref Extension.Lock), Executive, KernelMode, false, null);

        try
        {
            ExRaiseStatus(Status);
        }
        finally
        {
            KeReleaseMutex(PKMUTEX.To(ref Extension.Lock), false);
        }
    }

    NTSTATUS SehRaise(PSEH_EXTENSION Extension, PVOID Input, uint InputLength)
    {
        if (InputLength != sizeof(NTSTATUS))
        {
            return STATUS_INVALID_PARAMETER;
        }

        try
        {
            ProbeForRead(Input, sizeof(NTSTATUS), 1);
            var status = (NTSTATUS)((PULONG)Input).Value;

            // What is raised completes the request: an error, then, and a final one.
            if (!status.IsError || status == (NTSTATUS)(-1))
            {
                ExRaiseStatus(STATUS_INVALID_PARAMETER);
            }

            SehRaiseLocked(Extension, status);
        }
        catch (NtStatusException e)
        {
            return e.Status;
        }

        return STATUS_SUCCESS;
    }

    NTSTATUS SehRetry(PVOID Input, uint InputLength, ref uint Count)
    {
        using LocalVariable<EXCEPTION_RECORD> record = Local<EXCEPTION_RECORD>();
        uint left;

        if (InputLength != sizeof(uint))
        {
            return STATUS_INVALID_PARAMETER;
        }

        try
        {
            ProbeForRead(Input, sizeof(uint), 1);
            left = ((PULONG)Input).Value;
        }
        catch (NtStatusException e)
        {
            return e.Status;
        }

        // No program is to have the processor for as long as it likes.
        if (left > SEH_MOST_RETRIES)
        {
            return STATUS_INVALID_PARAMETER;
        }

        record.Value.ExceptionCode = STATUS_SEH_RETRY;
        for (Count = 0; ; Count++)
        {
            try
            {
                RtlRaiseException(PEXCEPTION_RECORD.To(ref record.Value));
            }
            catch (NtStatusException e) when (e.Status == STATUS_SEH_RETRY && left > 0)
            {
                left--;
            }
            catch (NtStatusException e) when (e.Status == STATUS_SEH_RETRY)
            {
                return STATUS_SUCCESS;
            }
        }
    }

    static void SehNote(ref uint Order, uint Digit) => Order = Order * 10 + Digit;

    static uint SehReturnOutOfTry(ref uint Order)
    {
        try
        {
            try
            {
                if (Order == 0)
                {
                    return 7;
                }
            }
            finally
            {
                SehNote(ref Order, 1);
            }
        }
        finally
        {
            SehNote(ref Order, 2);
        }

        return 0;
    }

    // An exception out of a finally takes the place of the one for which it was called.
    void SehRaiseInFinally(ref uint Order)
    {
        try
        {
            try
            {
                try
                {
                    ExRaiseStatus(STATUS_ACCESS_DENIED);
                }
                finally
                {
                    SehNote(ref Order, 3);
                    ExRaiseStatus(STATUS_DEVICE_BUSY);
                }
            }
            finally
            {
                SehNote(ref Order, 4);
            }
        }
        catch (NtStatusException e)
        {
            SehNote(ref Order, e.Status == STATUS_DEVICE_BUSY ? 5u : 8);
        }
    }

    NTSTATUS SehCleanup(ref uint Order)
    {
        uint order = 0;

        if (SehReturnOutOfTry(ref order) != 7)
        {
            return STATUS_INTERNAL_ERROR;
        }

        SehRaiseInFinally(ref order);

        try
        {
            SehNote(ref order, 6);
        }
        finally
        {
            SehNote(ref order, 7);
        }

        Order = order;

        return STATUS_SUCCESS;
    }
}

struct SEH_RANGE
{
    public PUCHAR Start; // user memory
    public uint Length;
}

[PointerTo(typeof(SEH_RANGE))] readonly partial struct PSEH_RANGE;

struct SEH_EXTENSION
{
    public KMUTEX Lock;
}

[PointerTo(typeof(SEH_EXTENSION))] readonly partial struct PSEH_EXTENSION;
