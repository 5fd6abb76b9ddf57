using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class OriginatorTests : OriginatorTable
{
    protected override void Between(PDEVICE_OBJECT bottom) => Filter(bottom, (_, irp, _) =>
    {
        if (irp.PendingReturned) IoMarkIrpPending(irp);
        return STATUS_CONTINUE_COMPLETION;
    });
}
